"""Ways to answer a question from passages, each a plain function over a chat model."""
