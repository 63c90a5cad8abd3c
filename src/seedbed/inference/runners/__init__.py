"""Runners, which compute rows of logits: on the CPU kernel, or with PyTorch on any device."""
