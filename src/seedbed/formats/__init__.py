"""Published files read and written: safetensors, GGUF, Hugging Face folders."""
