"""Hugging Face folders: configuration, tokenizer, pooling and model card."""
