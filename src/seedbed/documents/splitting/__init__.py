"""Cut documents into chunks that know their place."""
