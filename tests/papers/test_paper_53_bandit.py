"""Paper 53, EVOLvE: UCB's regret grows like a logarithm and greedy's in a line; texts replay to the same arms."""

import re

import numpy as np
import pytest

from mtjax.data import bandits
from mtjax.data.sources.bandit import BanditDecisions
from mtjax.errors import InputError


def test_ucb_explores_and_greedy_does_not():
    hard = {"gap": 0.5, "horizon": 600}
    growth = {}
    for teacher in ("ucb", "thompson", "greedy"):
        source = BanditDecisions(teacher=teacher, **hard)
        growth[teacher] = bandits.regret_growth(np.array([source.play(n).regret for n in range(30)]))
    assert growth["greedy"].linear > 0.1
    assert max(growth["ucb"].linear, growth["thompson"].linear) < 0.1 * growth["greedy"].linear
    assert all(one.unexplained < 0.01 for one in growth.values())


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_the_arms_of_a_text_replay_to_the_same_game(kind):
    source = BanditDecisions(kind=kind, horizon=12, count=3)
    for number, problem in enumerate(source.problems().items):
        arms = [int(arm) for arm in re.findall(r"=(\d+)$", problem.question, re.MULTILINE)] + [int(problem.answer)]
        reply = lambda seen, arms=arms: source.arm_of(f"arm {arms[source.question(seen).count('=') - 1]}")
        (played,) = bandits.play_all([source.game(number)], lambda seen, reply=reply: [reply(seen[0])])
        assert played == source.play(number)
        assert played.history.pulled == arms
        assert source.arm_of("none") == source.arm_of("99") == 0


def test_the_guide_decides():
    source = BanditDecisions(view="guide", horizon=20, count=20)
    for problem in source.problems().items:
        values = [
            float(a) + float(b) for a, b in re.findall(r"([\d.]+) \+ ([\d.]+|inf)$", problem.question, re.MULTILINE)
        ]
        assert values[int(problem.answer)] >= max(values) - 0.0101 or max(values) == np.inf


def test_teachers_by_hand():
    history = bandits.History(2, [0, 0, 1], [1.0, 0.0, 1.0])
    assert bandits.ucb(history) == 1
    np.testing.assert_allclose(bandits.bonuses(history), np.sqrt(0.5 * np.log(4) / np.array([2, 1])))
    linear = bandits.History(2, [0, 0], [1.0, 3.0], [(1.0, 0.0), (0.0, 2.0), (1.0, 1.0)])
    values, bonus = bandits.linear_values(linear)  # A = diag(2, 5), b = (1, 6)
    np.testing.assert_allclose([values[0], bonus[0]], [0.5 + 1.2, 0.5 * np.sqrt(0.5 + 0.2)])
    np.testing.assert_allclose([values[1], bonus[1]], [0, 0.5 * np.sqrt(2)])
    found = bandits.regret_growth(np.diff(3 * np.log(np.arange(1, 101)) + 0.2 * np.arange(1, 101), prepend=0)[None])
    np.testing.assert_allclose(found[:2], [3, 0.2], rtol=1e-6)


def test_settings_that_do_not_go_together():
    for settings in ({"kind": "linear"}, {"teacher": "linucb"}, {"view": "guide", "teacher": "greedy"}):
        with pytest.raises(InputError):
            BanditDecisions(count=1, **settings).problems()
