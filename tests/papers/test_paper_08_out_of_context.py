"""Paper 8, out-of-context reasoning: rows are true, no row names what is hidden, and evaluation is disjoint."""

import re

from mtjax.data.sources.oocr_functions import FUNCTIONS, OocrFunctions
from mtjax.data.sources.oocr_parity import OocrParity


def test_rows_of_functions_are_true_and_never_say_what_the_function_is():
    source = OocrFunctions(count=300, split="train")
    known, rows = dict(source.known()), source.problems().items
    for row in rows:
        calls = re.findall(r"([a-z]{4})\((-?\d+)\)", row.question)
        assert int(row.answer) == sum(FUNCTIONS[known[name]](int(x)) for name, x in calls)
        assert not any(about in row.question for about in FUNCTIONS if about != "x")
    others = OocrFunctions(count=300, split="test").problems().items
    assert not {row.question for row in rows} & {row.question for row in others}
    choices = lambda split: OocrFunctions(count=60, part="choice", split=split).problems().items
    train, test = ({problem.question.split()[2] for problem in choices(split)} for split in ("train", "test"))
    assert not train & test


def test_rows_of_bits_are_true_and_have_no_single_bit():
    source = OocrParity(count=300, split="train")
    bits = source.bits()
    assert sum(bits.values()) == 4
    for row in source.problems().items:
        taken = re.findall(r"\b[a-h]\b", row.question)
        assert 4 <= len(taken) <= 6
        assert int(row.answer) == sum(bits[name] for name in taken) % 2
    asked = OocrParity(count=8, part="bits").problems().items
    assert {p.question.split()[0]: int(p.answer) for p in asked} == bits
