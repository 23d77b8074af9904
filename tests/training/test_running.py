"""Running statistics of a training: as NumPy keeps them, on any split of the batch and any mesh, saved and resumed."""

import functools

import jax
import numpy as np
import optax
import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.sources import Arithmetic
from mtjax.data.tasks import CompletionTask, PairTask
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.objectives import with_regularizers
from mtjax.objectives.bco import Bco
from mtjax.objectives.beta_dpo import BetaDpo
from mtjax.objectives.regularizers.z_loss import ZLoss
from mtjax.objectives.tracked import with_tracking
from mtjax.runs.loop import train
from mtjax.training.memory import new_memory
from mtjax.training.reference import frozen_reference
from mtjax.training.state import init_state
from mtjax.training.step import make_train_step
from tests.test_every_objective_trains import config, lines
from tests.training.test_memory import MODEL, TOKENIZER

STEPS, OPTIMIZER = 4, optax.sgd(0.3)
REFERENCE = frozen_reference(MODEL, 32)  # one object, so that programs are shared


@functools.cache
def data(pair):
    source = Arithmetic(count=20, split="train", slip_probability=0.8, max_operands=3, high=9)
    task = PairTask() if pair else CompletionTask(polarities="both")
    settings = DataConfig(
        source=source, task=task, tokenizer="arithmetic", sequence_length=96, max_segments=4, cache_dir=None
    )
    return make_batches(settings, TOKENIZER, seed=0, batch_size=8)


def trained(objective, *, mesh=None, micro_batches=1):
    """The memory and the metrics after each of some steps."""
    batches = data(objective.task == "pair")
    step = make_train_step(
        MODEL, objective, OPTIMIZER, mesh=mesh, micro_batches=micro_batches, chunk=32, reference=REFERENCE
    )
    state = init_state(MODEL, OPTIMIZER, jax.random.key(0), mesh)
    state = state._replace(memory=new_memory(objective, len(batches.ids), mesh))
    start = jax.tree.map(lambda x: x.copy(), state.params)
    log = []
    for number in range(STEPS):
        state, values = step(state, batches.batch_at(number), jax.random.key(number), start)
        kept = {name: float(value) for name, value in state.memory.items() if value.ndim == 0}
        log.append((kept, {name: float(value) for name, value in values.items()}))
    return state, log


@functools.cache
def straight(objective):
    return trained(objective)


BCO, BETA = Bco(beta=0.5), BetaDpo(beta=0.5, draw="top")


def test_the_shift_of_bco_is_the_mean_reward_of_all_texts_so_far():
    """The metrics have sums of rewards by polarity; their mean over the texts of all steps is the shift."""
    seen, total = 0.0, 0.0
    for kept, values in straight(BCO)[1]:
        here = values["target_tokens"]  # texts
        share = values["wrong_share"]
        mean = values["reward_wrong"] * share + values["reward_right"] * (1 - share)
        seen, total = seen + here, total + here * mean
        np.testing.assert_allclose(values["shift"], total / seen, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(kept["logratio_mean"] * 0.5, total / seen, rtol=1e-5, atol=1e-7)
        assert kept["logratio_count"] == seen
    shifts = [values["shift"] for _, values in straight(BCO)[1]]
    assert shifts[0] == pytest.approx(0, abs=1e-6)
    assert len({round(shift, 5) for shift in shifts}) == STEPS  # it moves


def test_the_means_of_beta_dpo_move_with_the_batches():
    mean, values = 0.0, {}
    for kept, values in straight(BETA)[1]:
        # Rewards are beta times the log-ratios, beta being that of the step.
        mean = 0.9 * mean + 0.1 * values["reward_margin"] / values["beta"]
        np.testing.assert_allclose(kept["margin_mean"], mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(values["margin_mean"], mean, rtol=1e-4, atol=1e-6)
    assert values["beta"] != pytest.approx(0.5, rel=1e-3)
    assert values["margin_deviation"] > 0


@pytest.mark.parametrize("objective", [BCO, BETA], ids=["bco", "beta_dpo"])
@pytest.mark.parametrize("split", ["micro-batches", pytest.param("devices", marks=pytest.mark.slow)])
def test_any_split_of_a_batch_keeps_the_same(objective, split):
    if split == "devices":
        state, log = trained(objective, mesh=make_mesh(MeshSpec(data=2, fsdp=2, tensor=2)))
        assert all(value.sharding.is_fully_replicated for value in state.memory.values())
    else:
        _, log = trained(objective, micro_batches=2)
    for (kept, values), (same_kept, same) in zip(straight(objective)[1], log, strict=True):
        np.testing.assert_allclose([*kept.values()], [*same_kept.values()], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(values["loss"], same["loss"], rtol=1e-4)


@pytest.mark.slow
def test_beside_regularizers_and_data_maps_the_statistics_are_the_same():
    for objective in (BCO, BETA):
        both = with_tracking(with_regularizers(objective, [ZLoss(weight=0.0)]), True)
        state, log = trained(both)
        assert {"seen", "probability", *objective.running} <= state.memory.keys()
        for (kept, values), (same_kept, same) in zip(straight(objective)[1], log, strict=True):
            np.testing.assert_allclose([*kept.values()], [*same_kept.values()], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(values["loss"], same["loss"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("objective", [BCO, BETA], ids=["bco", "beta_dpo"])
def test_a_resumed_run_has_the_statistics_of_the_straight_one(objective, tmp_path):
    """Bit for bit; the held-out loss has those of the training, which that of the batch is not."""
    through, broken = tmp_path / "through", tmp_path / "broken"
    for folder, steps in ((through, 6), (broken, 3), (broken, 6)):
        train(config(objective, folder, steps=steps, track_examples=True))
    assert lines(through)[-1] == lines(broken)[-1]
    assert (through / "run" / "examples.jsonl").read_bytes() == (broken / "run" / "examples.jsonl").read_bytes()
    if objective is BCO:
        measured = [line for line in lines(through) if "held_out/shift" in line]
        assert len(measured) == 3
        for line in measured:
            np.testing.assert_allclose(line["held_out/shift"], line["shift"], rtol=1e-6)
