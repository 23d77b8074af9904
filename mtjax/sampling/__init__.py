"""From prompts to samples, on this machine or a server."""
