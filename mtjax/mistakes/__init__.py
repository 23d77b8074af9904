"""Mistakes: what one is, where it comes from (sampled, injected, imported), and the proof that it is one."""
