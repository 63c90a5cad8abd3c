"""Published files in and out: safetensors and GGUF, Hugging Face folders, the hub."""
