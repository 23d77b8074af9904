"""The wording of R-Tuning: an answer, the question whether the model is sure of it, and the reply."""

QUESTION = "Are you sure you accurately answered the question based on your internal knowledge?"
"""What is asked between the answer and the sureness; the wording is ours."""


def sureness_text(answer: str, sure: bool, question: str = QUESTION) -> str:
    """The answer, the question, and whether the answer is sure; one that ends in no mark gets a full stop.

    >>> sureness_text("18", False, "Sure?")
    '18. Sure? I am unsure.'
    """
    ended = answer if answer.rstrip().endswith((".", "!", "?")) else f"{answer.rstrip()}."
    return " ".join(filter(None, (ended, question, f"I am {'sure' if sure else 'unsure'}.")))


def without_sureness(text: str) -> str:
    """A reply up to the question whether it is sure."""
    return text.split(QUESTION)[0].rstrip()
