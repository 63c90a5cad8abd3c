"""Building blocks: norms, positions, mixers with one interface, feed-forward layers, the block, the loss."""
