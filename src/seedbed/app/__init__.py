"""Use cases that a command and a page share."""
