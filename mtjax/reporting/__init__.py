"""Numbers as text, tables, plots and pages."""
