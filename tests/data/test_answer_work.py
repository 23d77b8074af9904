"""How much is read of a long reply: counted, not timed. And the examples in the docstrings of the reader."""

import doctest
import importlib
import pkgutil

import pytest

from mtjax.data import answers
from mtjax.data.answers import boxes, check_answer, cutting, unboxed


@pytest.mark.parametrize("name", [one.name for one in pkgutil.iter_modules(answers.__path__)])
def test_the_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(f"mtjax.data.answers.{name}")).failed == 0


@pytest.fixture
def read_texts(monkeypatch):
    """The texts that `cut` has read."""
    seen, read = [], cutting.read
    monkeypatch.setattr(cutting, "read", lambda text: seen.append(text) or read(text))
    return seen


@pytest.mark.parametrize("piece", ["e.g. ", "a, ", "5, or 6 ", "so (5) "])
def test_beginnings_of_a_long_text_are_bounded(piece, read_texts):
    counts = []
    for times in (1000, 4000):
        read_texts.clear()
        check_answer(piece * times, "5")
        counts.append(sum(len(text) > 2000 for text in read_texts))
        assert len(read_texts) <= 1000
    assert counts[0] == counts[1] <= 4  # texts that cannot be a value: only the sentence itself


def test_braces_are_paired_once_for_all_boxes_of_a_text():
    boxes._braces.cache_clear()
    check_answer("\\boxed{" * 3000, "5")
    assert boxes._braces.cache_info().misses <= 3


def test_boxes_within_boxes_lose_their_braces():
    assert unboxed(r"a \boxed{b \boxed{{c}} d} \boxed{e") == r"a b {c} d \boxed{e"
    assert unboxed("\\boxed{" * 2000 + "}" * 2000) == ""
