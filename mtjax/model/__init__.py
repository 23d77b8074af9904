"""Models: the decoder behind the function contract `LanguageModel`, its scores, sampling and checkpoints of others."""
