"""Check this machine against a config before a run, and estimate the run. Writes nothing and loads no model."""
