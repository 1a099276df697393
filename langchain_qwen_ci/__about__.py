"""The version, for packaging and for traces."""

__version__ = "0.1.0"
