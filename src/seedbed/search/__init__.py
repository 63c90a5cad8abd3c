"""Search: a store of chunks, by words and by vectors; embedders; vector servers."""
