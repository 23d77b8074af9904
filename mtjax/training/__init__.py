"""The mechanisms of a training run; none of them sees the config."""
