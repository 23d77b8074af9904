"""Checks of a machine with accelerators: is mtjax right on it, and how fast; see `python -m mtjax.check_hardware`."""
