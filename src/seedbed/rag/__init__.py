"""Documents, readers, splitters, stores, retrieval, chains and citations."""
