"""The measurement of the surface: on pairs that leak by construction, and on pairs that do not."""

import random

import pytest

from mtjax.mistakes.filters import first_difference
from mtjax.mistakes.leakage import FEATURES, Balance, difference, measure, surface


def pairs(make, count=1000):
    rng = random.Random(0)
    return [(f"p{n // 2}", *make(rng)) for n in range(count)]


def text(rng, a=None, c=None, sign="+", end=""):
    a, b = rng.randint(10, 99) if a is None else a, rng.randint(10, 99)
    return f"{a} {sign} {b} = {rng.randint(10, 99) if c is None else c}{end}"


def test_chance_is_one_half():
    found = measure(pairs(lambda rng: (text(rng), text(rng))))
    assert set(found) == {*FEATURES, "all"}
    assert all(0.42 < x < 0.58 for leak in found.values() for x in leak)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("characters", lambda rng: (text(rng), text(rng, end=" so"))),
        ("lines", lambda rng: (text(rng, end="\nso 4"), text(rng))),
        ("digits", lambda rng: (text(rng), text(rng, c=rng.randint(100, 999)))),
        ("last_digit", lambda rng: (text(rng, c=10 * rng.randint(1, 9)), text(rng, c=10 * rng.randint(1, 9) + 5))),
        ("operators", lambda rng: (text(rng), text(rng, sign="-"))),
        ("operator_there", lambda rng: ("1 + 2 = 3", "1 - 2 = 3")),
        ("tokens", lambda rng: (text(rng), text(rng, end=" . ."))),
    ],
)
def test_what_leaks_by_construction_is_found(name, make):
    found = measure(pairs(make, 200))
    assert found[name] == (1.0, 1.0)
    assert found["all"] == (1.0, 1.0)


def test_a_shift_within_the_spread_shows_in_the_pair_only():
    def make(rng):
        word = "a" * rng.randint(1, 1000)
        return word, word + "b"

    found = measure(pairs(make))["characters"]
    assert found.paired == 1.0
    assert found.alone < 0.55


def test_parity_leaks_through_the_last_digit():
    even = lambda rng: (text(rng, c=2 * rng.randint(5, 49)), text(rng, c=2 * rng.randint(5, 49) + 1))
    assert measure(pairs(even, 400))["last_digit"] == (1.0, 1.0)


def test_too_few_problems_cannot_be_judged():
    assert measure([("a", "x", "y")] * 10) == {}


def test_features_by_hand():
    found = surface("12 + 7 = 19\nAnswer: 19", 3)
    assert found["characters"] == {"": 22.0}
    assert found["lines"] == {"": 2.0}
    assert found["digits"] == {"": 7.0}
    assert found["numbers"] == {"": 4.0}
    assert found["tokens"] == {"": 8.0}  # 12 + 7 = 19 Answer : 19
    assert found["last_digit"] == {"9": 1.0}
    assert found["operators"] == {"+": 1.0, "=": 1.0}
    assert found["difference_position"] == {"": 3 / 22}
    assert (found["operator_there"], found["operator_before"]) == ({"+": 1.0}, {"none": 1.0})
    assert surface("a x b", 0)["operators"] == {"x": 1.0}
    assert surface("extra", 0)["operators"] == {}
    assert first_difference("12 + 7", "12 - 7") == 3
    assert first_difference("ab", "abc") == 2


def test_balance_prefers_what_evens_out():
    longer, shorter = difference("48/2 = 24", "48/2 = 244"), difference("48/2 = 24", "48/2 = 2")
    assert longer["characters"] == 1.0
    assert shorter["characters"] == -1.0
    balance = Balance()
    assert balance.burden(longer) == 0
    balance.add(longer)
    assert balance.burden(shorter) < 0 < balance.burden(longer)
    assert difference("1 + 2 = 3", "1 - 2 = 3") == {"+": -1.0, "-": 1.0, "there +": -1.0, "there -": 1.0}
    assert difference("1 " + "a" * 50, "1")["characters"] == -3.0
