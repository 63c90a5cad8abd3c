"""Model hubs: find, pull and push repositories."""
