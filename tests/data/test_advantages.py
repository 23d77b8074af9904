"""Advantages: the published numbers, what must hold for all, and the maximum over subsets by enumeration."""

import itertools

import numpy as np
import pytest

from mtjax.data.advantages import ADVANTAGES
from mtjax.data.advantages.base import About
from mtjax.data.advantages.baselines import Centered, Grpo, Reward, Rloo
from mtjax.data.advantages.gdpo import Gdpo
from mtjax.data.advantages.opo import Opo
from mtjax.data.advantages.pass_at_k import PassAtK, Pkpo, Top2, solved_by
from mtjax.data.problem import Candidate, Problem
from mtjax.data.tasks.group import GroupTask
from mtjax.errors import InputError
from mtjax.registry import summary

HALF, MOST, FEW, REAL = [1, 0, 0, 1], [1, 1, 1, 0], [1, 0, 0, 0], [0.2, 0.5, 1, 0.5]
every_advantage = pytest.mark.parametrize("name", sorted(ADVANTAGES))
LENGTHS = np.array([2.0, 6, 3, 1, 4, 4, 7, 2, 5, 1])


def called(advantage, rewards, lengths=LENGTHS):
    """The advantages, with lengths for one that wants them."""
    about = (About(lengths[: len(rewards)], {}),) if advantage.needs_about else ()
    return advantage(rewards, *about)


@pytest.mark.parametrize(
    ("advantage", "rewards", "expected"),
    [
        (Rloo(), HALF, [2 / 3, -2 / 3, -2 / 3, 2 / 3]),  # 4/3 (r - 1/2)
        (Rloo(), MOST, [1 / 3, 1 / 3, 1 / 3, -1]),
        (Rloo(), REAL, [-0.4666667, -0.0666667, 0.6, -0.0666667]),
        (Centered(), FEW, [0.75, -0.25, -0.25, -0.25]),
        (Centered(), REAL, [-0.35, -0.05, 0.45, -0.05]),
        (Grpo(), HALF, [0.8658754, -0.8658754, -0.8658754, 0.8658754]),  # 0.5 / (sqrt(1/3) + 1e-4)
        (Grpo(epsilon=1e-6), REAL, [-1.0552865, -0.1507552, 1.3567970, -0.1507552]),
        (Grpo("population", 1e-8), MOST, [0.5773503, 0.5773503, 0.5773503, -1.7320508]),
        (PassAtK(2), HALF, [0.4472124, -0.4472124, -0.4472124, 0.4472124]),
        (PassAtK(2), MOST, [0, 0, 0, 0]),  # 3 > 4 - 2: solved often enough
        (PassAtK(2), FEW, [0.999998, -0.3333327, -0.3333327, -0.3333327]),
        (Pkpo(2), HALF, [1 / 12, -1 / 12, -1 / 12, 1 / 12]),
        (Pkpo(2), FEW, [0.25, -1 / 12, -1 / 12, -1 / 12]),
        (Top2(), FEW, [1.999996, 0, 0, 0]),
        (Top2(), HALF, [0, 0, 0, 0]),  # two share the first place
        (Top2(), REAL, [0, 0, 1.5075522, 0]),
        (Reward(), REAL, REAL),
    ],
)
def test_the_published_numbers(advantage, rewards, expected):
    np.testing.assert_allclose(advantage(np.array(rewards)), expected, atol=1e-6)


@every_advantage
def test_an_advantage_says_what_it_is_and_follows_its_candidates(name):
    advantage, rewards = ADVANTAGES[name](), np.array([1.0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
    assert summary(ADVANTAGES[name])
    found, order = called(advantage, rewards), np.random.default_rng(0).permutation(10)
    np.testing.assert_allclose(called(advantage, rewards[order], LENGTHS[order]), found[order], atol=1e-12)
    with pytest.raises(InputError, match="expected finite numbers"):
        called(advantage, np.array([1.0, np.nan, 0.0, 1.0]))


@pytest.mark.parametrize("name", [name for name in sorted(ADVANTAGES) if name != "reward"])
def test_equal_rewards_give_exactly_zero_and_a_constant_changes_nothing(name):
    advantage = ADVANTAGES[name](**({"k": 2} if "k" in ADVANTAGES[name].__annotations__ else {}))
    assert not called(advantage, np.ones(7)).any()
    if name != "pass_at_k":
        assert not called(advantage, np.full(7, np.float32(0.7))).any()  # whose mean is not 0.7
        rewards = np.array([0.2, 0.5, 1, 0.5])
        np.testing.assert_allclose(called(advantage, rewards + 3), called(advantage, rewards), atol=1e-6)
    with pytest.raises(InputError, match="a group of 1 candidates"):
        called(advantage, np.ones(1))


def test_pass_at_1_is_grpo_with_the_population_s_deviation_and_the_mean_is_zero():
    for right in range(9):
        rewards = np.r_[np.ones(right), np.zeros(8 - right)]
        np.testing.assert_allclose(PassAtK(1)(rewards), Grpo("population", 1e-6)(rewards), atol=1e-5)
        for k in (2, 3, 8):
            np.testing.assert_allclose(PassAtK(k)(rewards).mean(), 0, atol=1e-9)
            subsets = list(itertools.combinations(rewards, k))
            np.testing.assert_allclose(solved_by(8, right, k), np.mean([max(some) for some in subsets]), atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_credit_of_pkpo_is_the_best_of_all_subsets(k):
    rewards = np.random.default_rng(k).normal(size=6)
    best = [
        np.mean([max(rewards[i], *others) for others in itertools.combinations(np.delete(rewards, i), k - 1)])
        if k > 1
        else rewards[i]
        for i in range(6)
    ]
    credit = np.array(best) * k / 6
    np.testing.assert_allclose(Pkpo(k)(rewards), credit - credit.mean(), atol=1e-12)


def test_what_pass_at_k_cannot_do_says_what_can():
    with pytest.raises(InputError, match="data.task.advantage:pkpo"):
        PassAtK(2)(np.array(REAL))
    with pytest.raises(InputError, match="k=4: a group of 3 candidates is too small"):
        PassAtK(4)(np.array([1, 0, 0]))
    np.testing.assert_allclose(PassAtK(2)(np.array([1, -1, -1, 1])), PassAtK(2)(np.array(HALF)))


def test_opo_by_hand():
    # Lengths 2, 6, 3, 1: the baseline of 1, 0, 0, 1 is (2 + 1) / 12.
    np.testing.assert_allclose(called(Opo(), np.array([1.0, 0, 0, 1])), [0.75, -0.25, -0.25, 0.75])
    equal = np.full(4, 5.0)
    np.testing.assert_allclose(called(Opo(), np.array(REAL), equal), Centered()(np.array(REAL)), atol=1e-15)


def test_gdpo_by_hand():
    """Rewards 1, 0, 0, 1 and lengths of 10 and 20 are compared apart: neither scale matters, and equal sums differ."""
    rewards, brief = np.array([1.0, 0, 0, 1]), np.array([10.0, 10, 20, 20])
    about = About(np.ones(4), {"brief": brief, "same": np.full(4, 3.0)})
    half = 0.5 / (np.sqrt(1 / 3) + 1e-4)
    tens = 5 / (10 * np.sqrt(1 / 3) + 1e-4)
    found = Gdpo(names=("brief", "same"), weights=(-0.5, 9.0), reward_weight=2.0)(rewards, about)
    np.testing.assert_allclose(
        found, [2 * half + tens / 2, -2 * half + tens / 2, -2 * half - tens / 2, 2 * half - tens / 2], rtol=1e-12
    )
    np.testing.assert_allclose(Gdpo()(rewards, about), Grpo()(rewards))
    with pytest.raises(InputError, match="wants the number 'other' of every candidate, and the record has"):
        Gdpo(names=("other",))(rewards, about)
    with pytest.raises(InputError, match="expected one for each of advantage.names"):
        Gdpo(names=("brief",), weights=(1.0, 2.0))


def test_a_group_task_gives_lengths_and_numbers():
    """Bytes as tokens, with an end token; a number that one candidate lacks is not there."""
    ended = Candidate("abc", 1.0, numbers={"judge": 0.5, "more": 1.0})
    cut = Candidate("abcdefg", 0.0, finished=False, numbers={"judge": 0.1})
    problem = Problem("p", "q", candidates=(ended, cut))
    sides = GroupTask(size=2, advantage=Opo(), cut="keep").render(problem)
    np.testing.assert_allclose([one.extras["advantage"] for one in sides], [1 - 4 / 11, -4 / 11])
    sides = GroupTask(size=2, advantage=Gdpo(names=("judge",)), cut="keep").render(problem)
    assert sides[0].extras["advantage"] == pytest.approx(np.sqrt(2) / 2 * 2, rel=1e-3)
    with pytest.raises(InputError, match="wants the number 'more'"):
        GroupTask(size=2, advantage=Gdpo(names=("more",))).render(problem)
