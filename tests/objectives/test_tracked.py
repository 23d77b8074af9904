"""Data maps and forgetting: by hand over three visits, and through a run into its folder."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import ExitCode
from mtjax.objectives.nll import Nll
from mtjax.objectives.tracked import ARRAYS, Tracked, told, with_tracking
from mtjax.types import Remember, TokenScores
from tests.objectives.fakes import FixedPolicy, batch_of


class Told(FixedPolicy):
    """A policy with given log-probabilities, whose best token has another one."""

    def __init__(self, logprob, top):
        object.__setattr__(self, "logprob", logprob)
        object.__setattr__(self, "top", top)

    def scores(self, batch):
        return TokenScores(self.logprob, jnp.zeros_like(self.logprob), jnp.maximum(self.logprob, self.top))


def test_three_visits_by_hand():
    """Probabilities 0.5, 0.2 and 0.8; right, then wrong (forgotten once), then right."""
    kept = dict.fromkeys(("seen", *ARRAYS), 0.0)
    for visit, (p, right) in enumerate(((0.5, True), (0.2, False), (0.8, True))):
        extras = {name: [value] for name, value in kept.items()}
        batch, policy = batch_of([np.log(p), np.log(p)], **extras)
        top = jnp.where(right, -50.0, -0.01)
        loss, metrics = Tracked(Nll())(Told(policy.logprob, top), batch)
        np.testing.assert_allclose(loss.value, -np.log(p), rtol=1e-6)
        kept = {name: float(note.values[0, 0]) for name, note in metrics.items() if isinstance(note, Remember)}
        kept["seen"] = visit + 1
    np.testing.assert_allclose(kept["probability"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(kept["squares"], 0.18, rtol=1e-5)  # 0 + 0.09 + 0.09
    assert (kept["right"], kept["forgotten"]) == (1, 1)
    np.testing.assert_allclose(metrics["examples/spread"].value, np.std([0.5, 0.2, 0.8]), rtol=1e-5)
    assert metrics["examples/forgotten"].value == 1


def test_without_a_memory_and_off_it_is_the_objective():
    batch, policy = batch_of([-1.0])
    assert with_tracking(Nll(), False) == Nll()
    loss, metrics = with_tracking(Nll(), True)(policy, batch)
    assert loss == Nll()(policy, batch)[0]
    assert not any(name.startswith("examples/") for name in metrics)
    pair, policy = batch_of(([-1.0], [-3.0]))
    probability, _, live = told(policy.scores(pair), pair)
    assert live[0, :, 0].tolist() == [True, False]  # of a pair, the chosen text
    np.testing.assert_allclose(probability[0, 0, 0], np.exp(-1), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_a_run_writes_its_data_map(tmp_path):
    from mtjax.runs.loop import train
    from tests.test_every_objective_trains import config, lines

    run = config(Nll(), tmp_path, steps=6, track_examples=True)
    assert train(run).exit_code == ExitCode.DONE
    last = lines(tmp_path)[-1]
    assert 0 < last["examples/probability"] < 1
    assert last["examples/spread"] > 0
    records = [json.loads(line) for line in (tmp_path / "run" / "examples.jsonl").read_text().splitlines()]
    assert max(record["seen"] for record in records) >= 2
    assert {*ARRAYS, "example", "seen"} == {*records[0]}
    assert all(0 < record["probability"] < 1 for record in records)
