"""Releases: published, gated, tried on a few robots, promoted, rolled back."""
