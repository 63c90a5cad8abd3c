"""seedbed: the whole life of a language model on your own text, in one readable package."""

__version__ = "0.1.0"
