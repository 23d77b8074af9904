"""Evaluation: likelihood, answers, coverage and the report."""
