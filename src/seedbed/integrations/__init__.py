"""Adapters that make seedbed's parts usable in other frameworks."""
