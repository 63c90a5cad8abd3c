"""Generation: prompt ids in, a stream of token ids out; text only at the edge (``text.py``)."""
