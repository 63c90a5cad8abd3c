"""Vectors of texts counted from words: TF-IDF and latent semantic analysis."""
