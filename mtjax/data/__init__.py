"""Data: from records on disk to packed batches."""
