"""The reference: a frozen copy and kept log-probs say the same; what belongs to something else is refused."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.config import Config
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks.pair import PairTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.fingerprint import fingerprint_of
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.objectives.dpo import Dpo
from mtjax.runs.assembly import make_reference
from mtjax.training.reference import ReferenceConfig, cached_reference, frozen_reference
from mtjax.training.reference_cache import PART, Cache, make_scorer
from mtjax.training.state import init_state, state_shardings
from mtjax.training.step import make_train_step
from mtjax.types import Mean

BYTES, ARITHMETIC = load_tokenizer("bytes"), load_tokenizer("arithmetic")
MODEL = make_language_model(
    DecoderConfig(vocab_size=259, width=16, layers=2, heads=2, kv_heads=2, head_dim=8, mlp_width=24, init_scale=0.3)
)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))
OTHER = jax.jit(MODEL.init)(jax.random.key(1))
DIRECT = jax.jit(lambda params, batch: make_policy(MODEL, params).scores(batch).logprob)
FROZEN = jax.jit(lambda params, batch: frozen_reference(MODEL)(params).scores(batch).logprob)
PAIRS = tuple(Problem(f"p{n}", f"question {n}", pairs=(Pair("", "a" * (n % 7 + 1), f"no {n}"),)) for n in range(30))
BELONGS = {"weights": "w", "precision": "float32", "tokenizer": "t", "template": "x"}


def data(problems=PAIRS, **settings):
    settings = {"sequence_length": 64, "max_segments": 4} | settings
    return DataConfig(source=InMemory(tuple(problems)), task=PairTask(), **settings)


def kept(folder, score=None, belongs_to=None, **shape):
    score = score or make_scorer(MODEL, OTHER, None)
    shape = {"rows": 2, "length": 64} | shape
    cache = Cache(folder, BELONGS | (belongs_to or {}))
    return lambda index: {"reference_logprob": cache.logprobs(index, score, pad_id=BYTES.pad_id, **shape)}


@dataclasses.dataclass(frozen=True)
class Against:
    """The squared distance of chosen and rejected to the reference: a loss whose gradient needs it."""

    task: ClassVar[str] = "pair"
    needs_reference: ClassVar[bool] = True

    def __call__(self, policy, batch, *, reference, key):
        gap = jnp.where(batch.weights != 0, policy.scores(batch).logprob - reference.scores(batch).logprob, 0)
        return Mean(jnp.sum(gap**2), jnp.sum(batch.weights)), {"gap": Mean(jnp.sum(gap), jnp.sum(batch.weights))}


def update(reference, params, also=None, mesh=None, micro_batches=1):
    batches = make_batches(data(), BYTES, batch_size=8, seed=3, also=also)
    step = make_train_step(
        MODEL, Against(), optax.sgd(0.1), reference=reference, mesh=mesh, micro_batches=micro_batches, chunk=16
    )
    state = init_state(MODEL, optax.sgd(0.1), jax.random.key(0), mesh, jax.tree.map(jnp.copy, PARAMS))
    return jax.device_get(step(state, batches.batch_at(1), jax.random.key(0), params))


def test_frozen_and_cached_give_the_same_update(tmp_path):
    frozen, metrics = update(frozen_reference(MODEL), OTHER)
    cached, same = update(cached_reference, None, kept(tmp_path))
    assert metrics["loss"] > 0.01
    np.testing.assert_allclose(metrics["loss"], same["loss"], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), frozen.params, cached.params)


def test_each_token_has_its_own_log_prob_whatever_the_order_and_packing(tmp_path):
    also = kept(tmp_path)
    for settings in ({}, {"pack": False}, {"sequence_length": 100}):
        batches = make_batches(data(**settings), BYTES, batch_size=3, seed=len(settings), also=also)
        batch = batches.batch_at(2)
        direct = DIRECT(OTHER, batch)
        np.testing.assert_allclose(batch.extras["reference_logprob"], direct, atol=1e-5)
        frozen = FROZEN(OTHER, batch)
        np.testing.assert_allclose(frozen, np.where(batch.weights != 0, direct, 0), atol=1e-5)
    assert len(list(tmp_path.glob("part-*"))) == 1  # made once


def test_a_reference_is_split_over_the_mesh_and_the_step_agrees():
    model = frozen_reference(MODEL)
    # The vocabulary of 259 does not divide by tensor: a mesh without it.
    one, metrics = update(model, OTHER)
    mesh = make_mesh(MeshSpec(2, 4, 1), jax.devices())
    placed = jax.device_put(OTHER, state_shardings(MODEL, optax.sgd(0.1), mesh).params)
    many, same = update(model, placed, mesh=mesh)
    np.testing.assert_allclose(metrics["loss"], same["loss"], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one.params, many.params)
    assert fingerprint_of(placed) == fingerprint_of(OTHER) != fingerprint_of(PARAMS)


def test_a_swap_of_two_weights_has_another_fingerprint():
    tree = {"a": jnp.arange(12.0).reshape(3, 4), "b": jnp.ones(2)}
    assert fingerprint_of(tree) == fingerprint_of(jax.tree.map(jnp.copy, tree))
    swapped = tree | {"a": tree["a"].at[0, 1].set(2.0).at[0, 2].set(1.0)}
    assert fingerprint_of(tree) != fingerprint_of(swapped)
    assert fingerprint_of(tree) != fingerprint_of({"a": tree["a"].reshape(4, 3), "b": tree["b"]})


def test_no_gradient_reaches_the_reference():
    batch = jax.tree.map(jnp.asarray, make_batches(data(), BYTES, batch_size=4, seed=3).batch_at(0))
    policy, reference = frozen_reference(MODEL)(PARAMS), frozen_reference(MODEL)
    step_loss = lambda other: Against()(policy, batch, reference=reference(other), key=None)[0].total
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(jax.jit(jax.grad(step_loss))(OTHER)))


def test_a_cache_says_which_setting_of_the_run_differs(tmp_path):
    def made(task=None, tokenizer=BYTES, start=OTHER, **model):
        reference = ReferenceConfig(kind="cached", cache_dir=str(tmp_path / "kept"))
        shape = dataclasses.replace(MODEL.config, **model)
        config = Config(
            data=dataclasses.replace(data(), task=task or PairTask()),
            objective=Dpo(),
            reference=reference,
            batch_size=2,
        )
        (tmp_path / "reference.json").unlink(missing_ok=True)
        found = make_reference(config, make_language_model(shape), start, tokenizer, None, tmp_path)
        return make_batches(config.data, BYTES, batch_size=2, seed=0, also=found.also)

    made()
    for other, reason in (
        ({"task": PairTask(template="Q: {question}\n")}, r"another task.template \('{question}\\n' there, 'Q: "),
        ({"task": PairTask(unbox=True)}, r"another task.unbox \(False there, True here\)"),
        ({"tokenizer": ARITHMETIC}, "another tokenizer"),
        ({"start": PARAMS}, "another weights"),
        ({"dtype": "bfloat16"}, r"another precision \(float32 there, bfloat16 here\)"),
    ):
        with pytest.raises(InputError, match=f"{reason}.*delete the folder or choose another"):
            made(**other)
    made()


@pytest.mark.parametrize("name", sorted(BELONGS))
def test_a_cache_of_something_else_is_refused_with_the_reason(tmp_path, name):
    make_batches(data(), BYTES, batch_size=2, seed=0, also=kept(tmp_path))
    with pytest.raises(InputError, match=f"made with another {name}.*delete the folder or choose another"):
        make_batches(data(), BYTES, batch_size=2, seed=0, also=kept(tmp_path, belongs_to={name: "other"}))


@pytest.mark.parametrize("name", ["manifest.json", "part-00000.npz"])
def test_a_damaged_cache_is_named(tmp_path, name):
    make_batches(data(), BYTES, batch_size=2, seed=0, also=kept(tmp_path))
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match=f"{name} is damaged .*delete the folder"):
        make_batches(data(), BYTES, batch_size=2, seed=0, also=kept(tmp_path))


def test_a_file_is_no_cache(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(InputError, match="is a file; expected a folder"):
            make_batches(data(), BYTES, batch_size=2, seed=0, also=kept(folder))


def test_other_data_is_refused_and_part_of_the_same_is_not(tmp_path):
    make_batches(data(), BYTES, batch_size=2, seed=0, also=kept(tmp_path))
    make_batches(data(PAIRS[3:9]), BYTES, batch_size=2, seed=0, also=kept(tmp_path))
    more = (*PAIRS, Problem("new", "q", pairs=(Pair("", "a", "b"),)))
    with pytest.raises(InputError, match="other data: 1 of 31 examples are not in it, such as 'new/full/0'"):
        make_batches(data(more), BYTES, batch_size=2, seed=0, also=kept(tmp_path))
    changed = (dataclasses.replace(PAIRS[0], question="another"), *PAIRS[1:])
    with pytest.raises(InputError, match="example 'p0/full/0' has other tokens now"):
        make_batches(data(changed), BYTES, batch_size=2, seed=0, also=kept(tmp_path))


def test_a_killed_build_goes_on_to_the_same_files(tmp_path):
    many = tuple(Problem(f"p{n}", str(n), pairs=(Pair("", "a", "b"),)) for n in range(2 * PART + 5))
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    make_batches(data(many), BYTES, batch_size=2, seed=0, also=kept(whole, rows=16, length=128))
    calls = []
    score = make_scorer(MODEL, OTHER, None)

    def dies(batch):
        calls.append(batch)
        if len(calls) == 5:  # in the second part
            raise KeyboardInterrupt
        return score(batch)

    with pytest.raises(KeyboardInterrupt):
        make_batches(data(many), BYTES, batch_size=2, seed=0, also=kept(torn, dies, rows=16, length=128))
    assert 0 < len(list(torn.glob("part-*"))) < 3
    (torn / "part-00009.writing").write_bytes(b"half")  # what a kill in the middle of writing leaves
    make_batches(data(many), BYTES, batch_size=2, seed=0, also=kept(torn, score, rows=16, length=128))
    (torn / "part-00009.writing").unlink()
    files = sorted(path.name for path in whole.iterdir())
    assert files == sorted(path.name for path in torn.iterdir())
    assert all((whole / name).read_bytes() == (torn / name).read_bytes() for name in files)
    assert json.loads((whole / "manifest.json").read_text())["number"] == len(many)


BUILD = """
import pathlib, sys, time
import numpy as np
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.tasks.pair import PairTask
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.data.tokenizer import load_tokenizer
from mtjax.training.reference_cache import PART, Cache

def score(batch):
    time.sleep(0.01)
    return np.where(batch.segments > 0, -np.sqrt(batch.tokens), 0).astype(np.float32)

cache, tokenizer = Cache(pathlib.Path(sys.argv[1]), {"weights": "w"}), load_tokenizer("bytes")
many = tuple(Problem(f"p{n}", str(n), pairs=(Pair("", "a", "b"),)) for n in range(3 * PART))
also = lambda index: {"kept": cache.logprobs(index, score, rows=8, length=128, pad_id=tokenizer.pad_id)}
make_batches(DataConfig(source=InMemory(many), task=PairTask()), tokenizer, batch_size=2, seed=0, also=also)
"""


@pytest.mark.slow
def test_builds_that_are_killed_at_random_moments_end_in_the_same_files(tmp_path):
    start = lambda folder: subprocess.Popen([sys.executable, "-c", BUILD, folder], stdout=subprocess.DEVNULL)
    files = lambda folder: {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}
    killed, rng = tmp_path / "killed", np.random.default_rng(0)
    whole = start(tmp_path / "whole")
    for _ in range(2):
        job, before = start(killed), len(files(killed))
        while len(files(killed)) == before and job.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.1)  # while it computes the next part, or writes it
        job.kill()
        assert job.wait() == -signal.SIGKILL
    assert 0 < len(files(killed)) < 4
    for left in killed.glob(".*.tmp"):  # cut off while it was written; an hour later it is deleted
        os.utime(left, (0, 0))
    assert start(killed).wait() == whole.wait() == 0
    assert files(killed) == files(tmp_path / "whole")
    assert len(files(killed)) == 4


def test_a_cached_reference_says_what_it_cannot_do():
    batch = make_batches(data(), BYTES, batch_size=2, seed=0).batch_at(0)
    with pytest.raises(InputError, match="carries no 'reference_logprob'"):
        cached_reference(None).scores(batch)
    with pytest.raises(InputError, match="log-probs only"):
        cached_reference(None).map_logits(print, batch)
