"""Whole recipes: from a folder of text to a measured model, in stages that can be resumed."""
