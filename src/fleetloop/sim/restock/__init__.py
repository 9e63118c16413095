"""Restocking a shop: shelf, misplaced item, freezer, cooler."""
