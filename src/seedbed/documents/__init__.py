"""Documents: files and pages of every format as text with places in it, under limits."""
