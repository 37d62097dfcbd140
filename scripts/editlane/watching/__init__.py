"""Watch the lanes of a run from results/<run> alone, on any machine that sees the folder.

`state` reads the run, `plain_text` formats it as lines and `table` as a table. `live` shows it until the run is over;
`terminal` shows it in the workflow's own terminal.
"""
