"""Serve a local page on which a person rates edits without knowing which editor made them."""
