"""What one looks at before and during a run."""
