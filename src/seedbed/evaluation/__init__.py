"""Measuring a model on text it never saw, beside baselines, and the report of a run."""
