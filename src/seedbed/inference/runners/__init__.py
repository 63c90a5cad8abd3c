"""What computes rows of logits: the CPU kernel, or PyTorch on any device."""
