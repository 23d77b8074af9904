"""What a run needs of hardware that is not at hand: the compiler is asked ahead of time, and its answer is read."""
