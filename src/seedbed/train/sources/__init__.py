"""Sources of batches, one file a kind: a recipe names them by their files."""
