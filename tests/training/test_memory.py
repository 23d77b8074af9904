"""The memory of examples: as a Python dict by example id, on any mesh and packing, saved and resumed."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.sources import Arithmetic, Files
from mtjax.data.tasks import CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import ExitCode, InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.objectives import OBJECTIVES
from mtjax.objectives.glow import Glow, glow_weight
from mtjax.objectives.tracked import with_tracking
from mtjax.runs.loading import load_any
from mtjax.runs.loop import train
from mtjax.training.memory import PADDED, Remember, gathered, new_memory, recalled, renewed
from mtjax.training.state import init_state
from mtjax.training.step import make_train_step
from mtjax.types import Batch
from tests.test_every_objective_trains import config, lines

TOKENIZER = load_tokenizer("arithmetic")
MODEL = make_language_model(
    DecoderConfig(
        vocab_size=40, width=16, layers=1, heads=2, kv_heads=2, head_dim=8, mlp_width=16,
        max_length=96,
    )
)  # fmt: skip
GLOW = Glow(alpha=3.0, beta=10.0)
BOTH = with_tracking(GLOW, True)  # as with --track_examples: its data maps are in the same memory
OPTIMIZER = optax.sgd(0.5)


def data(pack=True, **settings):
    source = Arithmetic(count=20, split="train", slip_probability=0.8, max_operands=3, high=9)
    config = DataConfig(
        source=source, task=CompletionTask(polarities="both"), tokenizer="arithmetic", sequence_length=96,
        max_segments=4, pack=pack, cache_dir=None,
    )  # fmt: skip
    return make_batches(config, TOKENIZER, seed=0, **settings)


def trained(batches, steps, *, mesh=None, micro_batches=1, state=None, first=0):
    step = make_train_step(MODEL, BOTH, OPTIMIZER, mesh=mesh, micro_batches=micro_batches, chunk=32)
    if state is None:
        state = init_state(MODEL, OPTIMIZER, jax.random.key(0), mesh)
        state = state._replace(memory=new_memory(BOTH, len(batches.ids), mesh))
    log = []
    for number in range(first, steps):
        state, values = step(state, batches.batch_at(number), jax.random.key(number))
        log.append({name: float(value) for name, value in values.items()})
    return state, log


def losses_of(params, batch):
    """Mean cross-entropy of each example of a batch in NumPy float64, and whether all its targets are most likely."""
    scores = SCORES(params, batch)
    logprob, top = np.asarray(scores.logprob, np.float64), np.asarray(scores.top_logprob)
    live = (batch.weights != 0) & (batch.segments > 0)
    found, right = {}, {}
    for row, columns in enumerate(batch.extras["segment_id"]):
        for column, number in enumerate(columns):
            if number >= 0:
                own = live[row] & (batch.segments[row] == column + 1)
                found[int(number)] = -np.mean(logprob[row][own])
                right[int(number)] = bool((np.asarray(scores.logprob)[row][own] >= top[row][own]).all())
    return found, right


SCORES = jax.jit(lambda params, batch: make_policy(MODEL, params, chunk=32).scores(jax.tree.map(jnp.asarray, batch)))


def test_three_epochs_equal_a_dict_by_example_id():
    batches = data(batch_size=4)
    steps = 3 * batches.steps_per_epoch
    step = make_train_step(MODEL, BOTH, OPTIMIZER, chunk=32)
    state = init_state(MODEL, OPTIMIZER, jax.random.key(0))
    state = state._replace(memory=new_memory(BOTH, len(batches.ids)))
    known, times, weights, chances, was, forgotten = {}, {}, [], {}, {}, {}
    for number in range(steps):
        batch = batches.batch_at(number)
        (now, right), ids = losses_of(state.params, batch), batch.extras["segment_id"]
        here = ids[ids >= 0].tolist()  # at the end of an epoch one example may stand in a batch twice
        weight = {one: float(glow_weight(known[one] - loss, alpha=3.0, beta=10.0)) if one in known else 1.0
                  for one, loss in now.items()}  # fmt: skip
        weights += [value for one, value in weight.items() if one in known]
        state, values = step(state, batch, jax.random.key(number))
        np.testing.assert_allclose(values["loss"], np.mean([weight[one] * now[one] for one in here]), rtol=1e-4)
        known |= now
        for one, loss in now.items():
            chances.setdefault(one, []).append(np.exp(-loss))
            forgotten[one] = forgotten.get(one, 0) + (was.get(one, False) and not right[one])
        was |= right
        times |= {one: times.get(one, 0) + 1 for one in now}
    assert len(known) == len(batches.ids)
    assert max(weights) > 1.05 * min(weights)  # they differ
    memory = {name: np.asarray(values) for name, values in state.memory.items()}
    assert memory["last_loss"].shape == (PADDED,)
    np.testing.assert_allclose(memory["last_loss"][list(known)], list(known.values()), rtol=1e-5)
    assert memory["seen"][list(times)].tolist() == list(times.values())
    assert not memory["last_loss"][len(batches.ids) :].any()
    # The data map: mean and squared deviations of each probability, what is right, how often it was forgotten.
    order = list(known)
    means, squares = ([of(chances[one]) for one in order] for of in (np.mean, lambda x: np.var(x) * len(x)))
    np.testing.assert_allclose(memory["probability"][order], means, rtol=1e-4)
    np.testing.assert_allclose(memory["squares"][order], squares, rtol=1e-2, atol=1e-7)
    assert memory["right"][order].tolist() == [was[one] for one in order]
    assert memory["forgotten"][order].tolist() == [forgotten[one] for one in order]


@pytest.mark.slow
def test_packed_equals_unpacked_and_any_number_of_micro_batches():
    """One batch that holds every example, seen three times: how examples share rows does not matter."""
    packed, single = data(batch_size=8), data(pack=False, batch_size=len(data(batch_size=8).ids))
    everything = packed.steps_per_epoch
    whole = jax.tree.map(lambda *x: np.concatenate(x), *[packed.batch_at(step) for step in range(everything)])
    ids = whole.extras["segment_id"]
    first = np.unique(ids[ids >= 0], return_counts=True)[1]
    whole = whole if (first == 1).all() else first_of_each(whole)
    results = []
    for batch, micro in ((whole, 1), (whole, len(whole.tokens)), (single.batch_at(0), 1)):
        fixed = dataclasses.make_dataclass("Fixed", ["ids"])(packed.ids)
        fixed.batch_at = lambda step, batch=batch: batch
        results.append(trained(fixed, 3, micro_batches=micro))
    for state, log in results[1:]:
        np.testing.assert_allclose(state.memory["last_loss"], results[0][0].memory["last_loss"], rtol=1e-4, atol=1e-6)
        for name in ("seen", "right", "forgotten"):
            np.testing.assert_array_equal(state.memory[name], results[0][0].memory[name])
        np.testing.assert_allclose(
            state.memory["probability"], results[0][0].memory["probability"], rtol=1e-4, atol=1e-7
        )
        np.testing.assert_allclose([line["loss"] for line in log], [line["loss"] for line in results[0][1]], rtol=1e-4)


def first_of_each(batch):
    """The batch without the rows that stand in it again, where the last batch of an epoch reaches into the next."""
    seen, rows = set(), []
    for row, columns in enumerate(batch.extras["segment_id"]):
        own = {int(number) for number in columns if number >= 0}
        if not own & seen:
            rows.append(row)
            seen |= own
    return jax.tree.map(lambda x: x[rows], batch)


@pytest.mark.parametrize(
    "axes", [{"data": 2, "fsdp": 2, "tensor": 2}, pytest.param({"data": 8}, marks=pytest.mark.slow)]
)
def test_eight_devices_equal_one(axes):
    batches = data(batch_size=8)
    steps = batches.steps_per_epoch + 2
    one, log = trained(batches, steps)
    many, other = trained(batches, steps, mesh=make_mesh(MeshSpec(**({"data": 1} | axes))))
    assert not many.memory["last_loss"].is_fully_replicated
    np.testing.assert_allclose(many.memory["last_loss"], one.memory["last_loss"], rtol=1e-4)
    for name in ("seen", "right", "forgotten"):
        np.testing.assert_array_equal(many.memory[name], one.memory[name])
    np.testing.assert_allclose(many.memory["probability"], one.memory["probability"], rtol=1e-4)
    np.testing.assert_allclose(many.memory["squares"], one.memory["squares"], rtol=1e-2, atol=1e-7)
    np.testing.assert_allclose([x["loss"] for x in other], [x["loss"] for x in log], rtol=1e-4)
    assert log[-1]["seen"] > 0


def test_what_is_remembered_by_hand():
    ids = jnp.array([[2, 0, -1], [2, 5, -1]])
    batch = Batch(jnp.zeros((2, 4), jnp.int32), jnp.zeros((2, 4)), jnp.zeros((2, 4), jnp.int32), {"segment_id": ids})
    memory = {"seen": jnp.zeros(PADDED), "last_loss": jnp.full(PADDED, 7.0)}
    live = jnp.array([[True, True, True], [True, False, False]])
    note = Remember(jnp.array([[1.0, 2.0, 9.0], [3.0, jnp.nan, 9.0]]), live)
    new = renewed(memory, gathered({"last_loss": note, "loss": 3}, batch, PADDED))
    # Example 2 stands twice, so its mean is kept; 5 has no target, and -1 is no example.
    assert new["last_loss"][:6].tolist() == [2, 7, 2, 7, 7, 7]
    assert new["seen"][:6].tolist() == [1, 0, 1, 0, 0, 0]
    again = recalled(new, batch).extras
    assert again["segment_last_loss"].tolist() == [[2, 2, 0], [2, 7, 0]]
    assert again["segment_seen"].tolist() == [[1, 1, 0], [1, 0, 0]]
    assert gathered({"last_loss": note, "loss": 3}, batch, None) == {"loss": 3}


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_a_resumed_run_remembers(tmp_path):
    """A run of several epochs, stopped and started again in the third, is the straight run bit for bit."""
    through, broken = tmp_path / "through", tmp_path / "broken"
    for folder, steps in ((through, 8), (broken, 5), (broken, 8)):
        assert train(config(GLOW, folder, steps=steps)).exit_code == ExitCode.DONE
    assert lines(through)[-1]["seen"] == 1
    own = lambda folder: [{k: v for k, v in line.items() if "held_out" not in k} for line in lines(folder)]
    assert own(through) == own(broken)
    assert load_any(str(broken / "run")).step == 8


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("objective", [GLOW, OBJECTIVES["nll"]()], ids=["glow", "track_examples"])
def test_examples_that_changed_are_refused_though_others_may_change(objective, tmp_path):
    """The numbers would be those of other examples; another run starts from the weights. Packing may change."""
    problems = Arithmetic(count=20, split="train", slip_probability=0.8).problems("raise").items
    rows = [{"id": p.id, "question": p.question, "right": list(p.right), "wrong": list(p.wrong)} for p in problems]
    file = tmp_path / "a.jsonl"
    wanted = config(objective, tmp_path, steps=2, track_examples=objective is not GLOW)
    wanted = dataclasses.replace(wanted, data=dataclasses.replace(wanted.data, source=Files(str(file))), held_out=None)
    write = lambda rows: file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    go_on = lambda **more: train(dataclasses.replace(wanted, steps=4, accept_changed_data=True, **more))
    write(rows)
    assert train(wanted).exit_code == ExitCode.DONE
    for changed in (rows[1:], [*rows[1:], rows[0]]):  # fewer, and the same in another order
        write(changed)
        with pytest.raises(
            InputError, match=r"remembers its examples by number \(.*Restore them, or start another run"
        ):
            go_on()
    other = {"init_from": wanted.run_dir, "run_dir": str(tmp_path / "other")}
    assert go_on(**other).exit_code == ExitCode.DONE
    write(rows)
    assert go_on().exit_code == ExitCode.DONE
    seen = [json.loads(line)["seen"] for line in (tmp_path / "run" / "examples.jsonl").read_text().splitlines()]
    assert max(seen) > 1  # the memory goes on
