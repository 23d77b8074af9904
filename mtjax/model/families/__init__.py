"""Families of checkpoints: how their configs and tensors are read."""
