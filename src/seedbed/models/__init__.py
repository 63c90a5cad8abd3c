"""Architectures out of nn blocks: configuration, the decoder language model, presets, plans, storage."""
