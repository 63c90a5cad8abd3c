"""Training objectives, one file each: a recipe names them by their files."""
