"""A stored model in, another model out: merge, prune, and what they need."""
