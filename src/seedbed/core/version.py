"""The version of seedbed."""

__version__ = "0.1.0"
