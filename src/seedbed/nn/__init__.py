"""Building blocks: norms, positions, mixers with one face, feed-forward layers, the block, the loss."""
