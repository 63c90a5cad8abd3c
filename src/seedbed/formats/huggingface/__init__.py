"""What a Hugging Face folder holds beside weights."""
