"""Serving: talking to a model."""
