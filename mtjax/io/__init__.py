"""Files, records and the command line. Knows nothing of models or text."""
