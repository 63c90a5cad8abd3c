"""The command line: thin commands, one file per noun or verb family."""
