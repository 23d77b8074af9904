"""Mistakes: what one is, where it comes from (sampled, injected, self-edited, imported), and the proof that it is one."""
