"""The HTTP API: OpenAI-compatible routes over the generation engine, with keys, limits and the chat page."""
