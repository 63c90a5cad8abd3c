"""The ground floor: errors, strict configuration, artifacts with lineage, progress, random state."""
