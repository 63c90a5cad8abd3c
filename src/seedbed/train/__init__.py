"""Training: one loop, four axes (model x objective x source x plan), never a trainer subclass."""
