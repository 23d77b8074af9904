"""Planting an error in a right solution."""
