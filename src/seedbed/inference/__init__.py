"""Generation: prompt ids in, a stream of token ids out; text stands one level up, in ``chat``."""
