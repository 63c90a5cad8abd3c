"""Text to token ids and back: training, loading, streaming decoding and chat templates."""
