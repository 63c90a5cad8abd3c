"""GGUF, the format of llama.cpp: container, architectures, tokenizers."""
