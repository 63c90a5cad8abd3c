"""Messages, models that answer them, prompts, parsed output, memory and tracing."""
