"""Rounds: sample, grade, curate, train, measure, and again, with one policy in memory."""
