"""Packing: by hand, and that every example is in exactly one row that holds it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.order import make_order, quotas
from mtjax.data.packing import WINDOW, best_fit, join_rows, pack
from mtjax.errors import InputError

LENGTHS = st.lists(st.integers(1, 10), max_size=60)


def test_best_fit_by_hand():
    # 7, 6 and 5 open rows (room 3, 4, 5); 4 fills the row with room 4; 3 the one with room 3; 2 goes with 5
    assert best_fit(np.array([3, 7, 2, 6, 5, 4])[:, None], row_length=10, max_segments=8) == [[1, 0], [3, 5], [4, 2]]
    # the same with at most one segment: a row each, longest first
    assert best_fit(np.array([3, 7, 2])[:, None], row_length=10, max_segments=1) == [[1], [0], [2]]
    assert best_fit(np.array([1, 1, 1, 1, 1])[:, None], row_length=10, max_segments=2) == [[0, 1], [2, 3], [4]]


def looked_at_one_by_one(lengths, row_length, max_segments):
    """Best fit as its description says, without any search structure."""
    rows, room = [], []
    for place in sorted(range(len(lengths)), key=lambda n: (-max(lengths[n]), -sum(lengths[n]), n)):
        own = lengths[place]
        fitting = [
            (sum(left), -number)
            for number, left in enumerate(room)
            if len(rows[number]) < max_segments and all(a >= b for a, b in zip(left, own, strict=True))
        ]
        if fitting:
            number = -min(fitting)[1]
        else:
            number = len(rows)
            rows.append([])
            room.append([row_length] * len(own))
        rows[number].append(place)
        room[number] = [a - b for a, b in zip(room[number], own, strict=True)]
    return rows


@pytest.mark.parametrize("sides", [1, 2])
@given(st.data())
def test_best_fit_is_what_looking_at_every_row_gives(sides, data):
    length, row_length, segments = st.integers(1, 30), st.integers(30, 60), st.integers(1, 9)
    lengths = data.draw(st.lists(st.tuples(*[length] * sides), min_size=1, max_size=90))
    settings = data.draw(row_length), data.draw(segments)
    assert best_fit(np.array(lengths), *settings) == looked_at_one_by_one(lengths, *settings)


@pytest.mark.parametrize("sides", [1, 2])
def test_windows_packed_together_are_those_packed_alone(sides, monkeypatch):
    monkeypatch.setattr("mtjax.data.packing.WINDOW", 40)
    lengths = np.random.default_rng(0).integers(1, 30, (210, sides))  # five windows, and a smaller one
    together = pack(lengths, row_length=64, max_segments=5, key=(1,))
    monkeypatch.setattr("mtjax.data.packing.TOGETHER", 1)
    alone = pack(lengths, row_length=64, max_segments=5, key=(1,))
    assert np.array_equal(together.members, alone.members)
    assert np.array_equal(together.offsets, alone.offsets)
    assert sorted(together.members.tolist()) == list(range(210))


@given(LENGTHS, st.integers(1, 5), st.integers(0, 3))
def test_every_example_is_in_exactly_one_row_that_holds_it(lengths, max_segments, seed):
    lengths = np.array(lengths, np.int64).reshape(-1, 1)
    rows = pack(lengths, row_length=10, max_segments=max_segments, key=(seed,), first=100)
    assert sorted(rows.members.tolist()) == list(range(100, 100 + len(lengths)))
    for start, end in zip(rows.offsets, rows.offsets[1:], strict=False):
        assert 1 <= end - start <= max_segments
        assert lengths[rows.members[start:end] - 100].sum() <= 10
    again = pack(lengths, row_length=10, max_segments=max_segments, key=(seed,), first=100)
    assert np.array_equal(rows.members, again.members)
    assert np.array_equal(rows.offsets, again.offsets)


def test_rows_are_nearly_full_and_windows_stay_apart():
    lengths = np.random.default_rng(0).integers(5, 40, (3 * WINDOW, 1))
    rows = pack(lengths, row_length=128, max_segments=16, key=(0,))
    assert lengths.sum() / (rows.number * 128) > 0.97
    # members come window by window of the order that the key gives: each window's rows hold that window only
    unpacked = pack(lengths, row_length=128, max_segments=1, key=(0,))
    assert set(rows.members[:WINDOW].tolist()) == set(unpacked.members[:WINDOW].tolist())


def test_another_key_packs_otherwise():
    lengths = np.full((50, 1), 10)  # of equal lengths, so that the order decides alone
    one, two = (pack(lengths, row_length=60, max_segments=4, key=(key,)) for key in (1, 2))
    assert not np.array_equal(one.members, two.members)


def test_an_example_longer_than_a_row_is_refused():
    with pytest.raises(InputError, match="11 tokens does not fit a row of 10"):
        pack(np.array([[11]]), row_length=10, max_segments=2, key=(0,))


def test_joined_rows_keep_their_members():
    one = pack(np.array([[3], [3]]), row_length=6, max_segments=2, key=(0,))
    two = pack(np.array([[3], [4]]), row_length=6, max_segments=2, key=(0,), first=2)
    rows = join_rows([one, two])
    assert rows.offsets.tolist() == [0, 2, 3, 4]
    assert sorted(rows.members.tolist()) == [0, 1, 2, 3]


def test_quotas_add_up():
    assert quotas(np.array([1.0, 3.0]), 8).tolist() == [2, 6]
    # 10/3 each: 3, 3, 3 and the one left over to the first of equal remainders
    assert quotas(np.ones(3), 10).tolist() == [4, 3, 3]
    # nobody goes without: 1e-9 of 8 becomes 1
    assert quotas(np.array([1e-9, 1.0]), 8).tolist() == [1, 7]


def test_the_order_visits_each_row_once_per_epoch():
    order = make_order([7], np.ones(1), seed=3)
    epochs = order(np.arange(21)).reshape(3, 7)
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3


@given(st.permutations(list(range(0, 20_000, 997))))
def test_the_order_has_no_memory(places):
    shares = np.array([0.7, 0.3])
    at_once = make_order([11, 5], shares, seed=3)(np.array(places))
    one_by_one = make_order([11, 5], shares, seed=3)
    assert at_once.tolist() == [int(one_by_one(np.array([place]))[0]) for place in places]


def test_a_source_with_a_limit_gives_its_share_to_the_others():
    shares, counts = np.array([0.5, 0.3, 0.2]), [4000, 10, 300]
    order = make_order(counts, shares, 3, [np.inf, 20.0, 450.0])
    free = make_order(counts, shares, 3)
    rows = order(np.arange(9000))
    source = np.searchsorted(np.cumsum(counts), rows, side="right")
    assert np.bincount(rows[source == 1] - 4000).tolist() == [2] * 10  # two epochs, each row twice
    assert sum(source == 2) == 450
    (second, first_end), (third, later_end) = order.ends
    assert (second, third) == (1, 2)
    assert source[first_end - 1] == 1
    assert not np.any(source[first_end:] == 1)
    assert np.array_equal(rows[:first_end], free(np.arange(first_end)))  # until then nothing is changed
    assert source[later_end - 1] == 2
    assert np.all(source[later_end:] == 0)
    assert abs(np.mean(source[first_end:later_end] == 2) - 0.2 / 0.7) < 0.02  # the shares of the others, scaled
    own = rows[source == 0]
    assert sorted(own[:4000].tolist()) == list(range(4000))  # its epochs go on across the ends
    for place in (0, first_end - 1, first_end, 300, later_end, 8999):
        assert order.taken(place).tolist() == np.bincount(source[:place], minlength=3).tolist()
        assert order(np.array([place]))[0] == rows[place]


def test_each_source_of_a_mixture_keeps_its_own_epochs():
    rows = make_order([11, 5], np.array([0.7, 0.3]), seed=3)(np.arange(2 * WINDOW))
    for first, count in ((0, 11), (11, 5)):
        own = rows[(rows >= first) & (rows < first + count)]
        whole = own[: len(own) // count * count].reshape(-1, count)
        assert all(sorted(epoch) == list(range(first, first + count)) for epoch in whole.tolist())
    # .3 of 4096 is 1228.8: 1229 places of every block
    assert np.sum(rows[:WINDOW] >= 11) == np.sum(rows[WINDOW:] >= 11) == 1229
