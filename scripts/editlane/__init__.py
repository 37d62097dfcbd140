"""Evaluate image-editing models. Importing this package loads no model library."""

__version__ = "0.1.0"
