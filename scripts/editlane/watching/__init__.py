"""Watching a run: what its lanes are doing, from results/<run> alone, on any machine that sees the folder.

`state` reads and judges it, `lines` says it in plain lines, `table` draws it, `live` goes on doing so until the run is
over, `terminal` tells it in the workflow's own terminal.
"""
