"""One training run, made from its Config."""
