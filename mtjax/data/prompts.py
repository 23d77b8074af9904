"""Templates: the text around a question, as text.

A template holds `{question}` once. It should end where a token surely ends, so that a prompt has the same ids alone and
in front of an answer: a line break that no space precedes, or a special token. Special tokens may be written out; the
tokenizer reads them. Training and decoding fill the same template, here.
"""

from mtjax.errors import InputError

PLAIN = "{question}\n"
"""The question on a line (or lines) of its own; every tokenizer of the project can write it."""

QUESTION_ANSWER = "Question: {question}\nAnswer:\n"
"""For base models: a question and an answer, each named."""

CHATML = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
"""For SmolLM2-Instruct and Qwen2: one user turn, without a system message."""

SLOT = "{question}"


def check_template(template: str) -> None:
    """Raise InputError unless the template has its one `{question}`."""
    if template.count(SLOT) != 1:
        raise InputError(
            f"template {template!r}: expected the text {SLOT} exactly once, found {template.count(SLOT)}; "
            f"write for example {PLAIN!r}"
        )


def fill(template: str, question: str) -> str:
    """The template with the question in its slot. Other braces stay as they are, so LaTeX needs no escapes."""
    before, after = template.split(SLOT)
    return before + question + after
