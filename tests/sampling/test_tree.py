"""Searches over steps on planted trees: PUCT finds the planted path, and an oracle's value solves in depth steps."""

import itertools

import pytest

from mtjax.sampling.search.tree import Path, best_path, puct, puct_search, step_beam

DEPTH, WIDE = 4, 3
PLANTED = (2, 0, 1, 2)


def propose(paths, turn):
    """Every path may go on with each of three tokens; it ends after four."""
    return [
        [
            Path((*path.tokens, token), (*path.logprobs, -1.0), path.steps + 1, path.steps + 1 == DEPTH, 1 / WIDE)
            for token in range(WIDE)
        ]
        for path in paths
    ]


def agreement(path):
    """How many of its tokens, from the first, are those of the planted path."""
    return sum(1 for _ in itertools.takewhile(lambda both: both[0] == both[1], zip(path.tokens, PLANTED, strict=False)))


def oracle(paths):
    return [1.0 if agreement(path) == len(path.tokens) else -1.0 for path in paths]


def blind(paths):
    return [0.0] * len(paths)


def reward(path):
    return 1.0 if path.tokens == PLANTED else -1.0


def nodes_of(node):
    yield node
    for child in node.children:
        yield from nodes_of(child)


def test_an_oracle_solves_in_depth_steps():
    asked = []

    def counted(paths, turn):
        asked.append(len(paths))
        return propose(paths, turn)

    found = step_beam(counted, oracle, 1, 10, lambda path: True)
    assert [path.tokens for path in found] == [PLANTED]
    assert asked == [1] * DEPTH


def test_beams_end_shrink_and_die():
    found = step_beam(propose, oracle, 3, DEPTH, lambda path: True)
    assert found[0].tokens == PLANTED
    assert len(found) == 3  # the others ended too, with lower values
    assert len(set(found)) == 3
    (lost,) = step_beam(propose, oracle, 2, DEPTH, lambda path: False)  # no answer is valid: the best one is given
    assert lost.tokens == PLANTED
    (short,) = step_beam(propose, oracle, 2, 2, lambda path: True)  # too deep before it ends
    assert not short.ended
    assert short.tokens == PLANTED[:2]


def test_a_wider_beam_recovers_from_a_value_that_is_wrong_once():
    def misled(paths):
        return [0.9 if path.tokens == (0,) else 0.5 * value for path, value in zip(paths, oracle(paths), strict=True)]

    assert step_beam(propose, misled, 1, DEPTH, lambda path: True)[0].tokens[0] == 0
    assert step_beam(propose, misled, 2, DEPTH, lambda path: True)[0].tokens == PLANTED


def test_puct_by_hand():
    assert puct(0.5, 0.3, 9, 2) == pytest.approx(0.875)
    assert puct(0.0, 0.5, 4, 0) == pytest.approx(1.25)


@pytest.mark.parametrize("value", [oracle, blind])
def test_puct_finds_the_planted_path_and_backs_up_means_of_leaves(value):
    root = puct_search(propose, value, 60, DEPTH, reward=reward)
    assert best_path(root).tokens == PLANTED
    for node in nodes_of(root):
        below = [n for n in nodes_of(node) if n is not root]
        own = [reward(n.path) if n.path.ended else value([n.path])[0] for n in below]
        assert node.visits == len(below)
        assert node.mean == pytest.approx(sum(own) / len(own))
        assert -1 <= node.mean <= 1


def test_a_tree_that_is_searched_through_ends_and_what_is_too_long_is_wrong():
    root = puct_search(propose, blind, 1000, DEPTH, reward=reward)
    assert root.closed
    assert sum(node.path.ended for node in nodes_of(root)) == WIDE**DEPTH
    short = puct_search(propose, blind, 1000, 2, reward=reward)
    assert all(node.mean == -1 for node in nodes_of(short) if node.path.steps == 2)
    assert not any(node.path.ended for node in nodes_of(short))
