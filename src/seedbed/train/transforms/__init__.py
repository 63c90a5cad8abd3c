"""Changes of a model for the time of a training stage, one file a kind."""
