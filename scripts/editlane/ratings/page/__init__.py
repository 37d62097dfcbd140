"""A page on this machine where a person rates edits without knowing which editor made them."""
