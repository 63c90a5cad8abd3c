"""Safetensors: single files and shards with an index."""
