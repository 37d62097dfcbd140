"""Checks of this machine against a config before a run, and an estimate; writes, loads and touches nothing."""
