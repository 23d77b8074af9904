"""The live filter: what it keeps, by hand; full batches while there is enough; the same again after a resume."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.packing import first_that_fit
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.objectives.base import segment_sum
from mtjax.objectives.dco import Dco
from mtjax.objectives.nll import Nll
from mtjax.training.live_filter import LiveFilter, make_chooser

pytestmark = pytest.mark.usefixtures("one_device")

BYTES = load_tokenizer("bytes")
MODEL = make_language_model(
    DecoderConfig(vocab_size=259, width=8, layers=1, heads=1, kv_heads=1, head_dim=8, mlp_width=8)
)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))
PROBLEMS = tuple(Problem(f"p{n}", str(n), right=("ab" * (1 + n % 5),)) for n in range(40))


def batches(size=4, rows=None, **settings):
    config = DataConfig(
        source=InMemory(PROBLEMS), task=CompletionTask(), sequence_length=32, max_segments=3, **settings
    )
    return make_batches(config, BYTES, batch_size=size, seed=1, rows=rows)


@dataclasses.dataclass(frozen=True)
class Even:
    """Calls every other example live, by its number."""

    task: ClassVar[str] = "any"
    needs_reference: ClassVar[bool] = False

    def __call__(self, policy, batch, *, reference, key):
        raise AssertionError("the filter does not ask for the loss")

    def weights(self, policy, batch):
        return jnp.asarray(batch.extras["segment_id"] % 2 == 0, jnp.float32)


def examples_of(batch):
    return sorted(x for x in np.asarray(batch.extras["segment_id"]).ravel().tolist() if x >= 0)


def test_only_live_examples_are_kept_the_first_by_number():
    made = batches()
    choose = make_chooser(LiveFilter(refill_factor=2), made, MODEL, Even(), None, 16)
    batch, metrics = choose(PARAMS, 3)
    window = examples_of(made.window_at(3, 2))
    live = [x for x in window if x % 2 == 0]
    kept = examples_of(batch)
    assert kept == sorted(set(live))[: len(kept)]  # a window over the end of an epoch holds some twice
    assert 0 < len(kept) < len(window)
    assert batch.tokens.shape == made.batch_at(0).tokens.shape
    assert metrics["live_share"] == pytest.approx(len(live) / len(window))
    assert metrics["live_weight"] == pytest.approx(metrics["live_share"])
    # Each kept example is whole and trained as in any other batch.
    alone = made.batch_at(0)
    sums = {}
    for source in (batch, alone, *(made.batch_at(n) for n in range(8))):
        per = np.asarray(segment_sum(jnp.asarray(source.weights), jnp.asarray(source.segments), 3))
        for number, weight in zip(source.extras["segment_id"].ravel(), per.ravel(), strict=True):
            if number >= 0:
                assert sums.setdefault(int(number), weight) == weight


def test_more_candidates_fill_the_batch_and_too_few_leave_rows_empty():
    made = batches()
    shortfall = lambda factor: make_chooser(
        LiveFilter(refill_factor=factor), made, MODEL, Even(), None, 16
    )(PARAMS, 0).metrics["live_shortfall"]  # fmt: skip
    assert shortfall(1) >= 0.25
    assert shortfall(3) == 0


def test_the_choice_depends_on_seed_step_and_weights_alone():
    choose = lambda: make_chooser(LiveFilter(threshold=0.5), batches(), MODEL, Dco(n=64), None, 16)
    first, again = choose(), choose()
    for step in (5, 0, 5):
        a, b = first(PARAMS, step), again(PARAMS, step)
        assert jax.tree.all(jax.tree.map(np.array_equal, a.batch, b.batch))
        assert a.metrics == b.metrics


def test_hosts_load_parts_of_the_window():
    """Each host loads its own rows of each batch of a window; what all choose from it stands in tests/hosts."""
    whole, first, second = (batches(rows=rows).window_at(3, 2) for rows in (None, slice(0, 2), slice(2, 4)))
    joined = jax.tree.map(lambda a, b: np.concatenate([a[:2], b[:2], a[2:], b[2:]]), first, second)
    assert jax.tree.all(jax.tree.map(np.array_equal, joined, whole))


def test_warm_up_takes_every_example_and_none_is_the_plain_batch():
    made = batches()
    choose = make_chooser(LiveFilter(warmup_steps=2), made, MODEL, Even(), None, 16)
    plain = make_chooser(None, made, MODEL, Nll(), None, 16)
    for step in (0, 1):
        assert examples_of(choose(PARAMS, step).batch) == examples_of(plain(PARAMS, step).batch)
    assert all(number % 2 == 0 for number in examples_of(choose(PARAMS, 2).batch))


def test_the_first_that_fit_by_hand():
    # Two rows of 10: 6 and 5 open a row each, 4 and 5 fill them; the last one, 3, does not fit any more.
    found = first_that_fit(np.array([[6], [5], [4], [5], [3]]), 10, 8, 2)
    assert sorted(found.members.tolist()) == [0, 1, 2, 3]
    assert first_that_fit(np.zeros((0, 1), np.int64), 10, 8, 2).number == 0


def test_misuse_is_refused():
    with pytest.raises(InputError, match="an objective that weighs examples, such as dco; Nll does not"):
        make_chooser(LiveFilter(), batches(), MODEL, Nll(), None, 16)
    with pytest.raises(InputError, match="live_filter.refill_factor=0: expected at least 1"):
        LiveFilter(refill_factor=0)
