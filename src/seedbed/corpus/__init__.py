"""Text in, a clean and split corpus out: readers, cleaning, personal data, duplicates, splits, token shards."""
