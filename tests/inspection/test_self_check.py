"""The self-check passes what is sound and refuses what was broken on purpose, with the example and the way out."""

import dataclasses
import functools
import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax import train
from mtjax.config import Config
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.problem import Message, Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import ChatTask, CompletionTask, MistakeTask
from mtjax.data.tasks.pair import PairTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import ExitCode, InputError
from mtjax.inspection import score_checks, self_check
from mtjax.inspection.batch_view import BatchScores, score_batch, unpack_batch
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.dco import Dco
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.kto import Kto
from mtjax.objectives.nll import Nll
from mtjax.objectives.npo import Npo
from mtjax.objectives.rise import Rise
from mtjax.objectives.simpo import Simpo
from mtjax.runs.assembly import make_model, make_reference
from mtjax.training.reference import ReferenceConfig
from mtjax.types import Mean, TokenScores

BYTES, ARITHMETIC = load_tokenizer("bytes"), load_tokenizer("arithmetic")
SHAPE = DecoderConfig(width=16, layers=1, heads=2, kv_heads=2, head_dim=8, mlp_width=24, init_scale=0.3)
FULL = tuple(Problem(f"p{n}", f"question {n}", right=("yes " * (n % 4 + 1),), wrong=(f"no {n}",)) for n in range(16))
STEPS = tuple(
    Problem(f"s{n}", f"{n}?", pairs=(Pair("so far ", "right", "wrong", "step"), Pair("", f"{n} yes", f"{n} no")))
    for n in range(16)
)


@functools.cache
def start(seed):
    """A model's parameters; made once, since making them is slow."""
    return jax.jit(make_model(config_of(Nll(), CompletionTask()), None)[0].init)(jax.random.key(seed))


def config_of(objective, task, problems=FULL, **more):
    data = {"sequence_length": 64, "max_segments": 2} | more.pop("data", {})
    data = DataConfig(source=InMemory(tuple(problems)), task=task, tokenizer="bytes", **data)
    return Config(model=SHAPE, data=data, objective=objective, batch_size=8, mesh=MeshSpec(2, 4, 1), **more)


def check(config, folder, spoil=None, other_reference=False, mesh=None):
    """Make the run's parts as training does, spoil them, and check."""
    mesh = mesh or make_mesh(MeshSpec(), jax.devices()[:1])
    model, _, tokenizer = make_model(config, mesh)
    params = start(0)
    reference = make_reference(config, model, start(1) if other_reference else params, tokenizer, mesh, folder)
    batches = make_batches(config.data, tokenizer, batch_size=config.batch_size, seed=0, also=reference.also)
    batch = batches.batch_at(0)
    batch = spoil(batch) if spoil else batch
    return self_check.self_check(config, model, params, tokenizer, batches, batch, reference, mesh)


def parts_of(task, problems=FULL, tokenizer=BYTES, **settings):
    """The sequences of one pass."""
    data = DataConfig(source=InMemory(tuple(problems)), task=task, **{"sequence_length": 64} | settings)
    batches = make_batches(data, tokenizer, batch_size=32, seed=0, repeat=False)
    return unpack_batch(batches.batch_at(0), batches.ids)


def changed(part, **arrays):
    return part._replace(**{name: np.array(values) for name, values in arrays.items()})


def refused(check, *words):
    with pytest.raises(InputError) as error:
        check()
    for word in words:
        assert word in str(error.value)


# --- the sequences of a batch


def test_sequences_are_the_examples_as_they_were_packed():
    parts = parts_of(PairTask(), STEPS[:1])
    chosen, rejected = parts[:2]
    assert (chosen.name, chosen.at, rejected.at, chosen.column) == (rejected.name, (0, 0), (0, 1), 0)
    assert [part.column for part in parts] == [0, 0, 1, 1]
    named = {part.name: part for part in parts[::2]}
    step, full = named["s0/step/0"], named["s0/full/0"]
    assert BYTES.decode(step.tokens.tolist()) == "<|bos|>0?\nso far right"
    assert BYTES.decode(step.tokens[step.targets].tolist()) == "right"
    assert BYTES.decode(full.tokens[full.targets].tolist()) == "0 yes<|end|>"
    assert (step.extras["kind"], full.extras["kind"]) == (1.0, 0.0)
    assert rejected.extras["polarity"] == 0.0


# --- host checks: each passes what is sound, and names what is not


def test_weights_must_be_finite():
    parts = parts_of(CompletionTask())
    self_check.check_weights(parts)
    weights = parts[3].weights.copy()
    weights[-2] = np.nan
    parts[3] = changed(parts[3], weights=weights)
    refused(lambda: self_check.check_weights(parts), repr(parts[3].name), "weight nan")


def test_enough_tokens_must_be_targets_and_some_of_every_text():
    parts = parts_of(CompletionTask())
    share = sum(part.targets.sum() for part in parts) / sum(len(part.tokens) for part in parts)
    self_check.check_targets(parts, float(share))
    refused(
        lambda: self_check.check_targets(parts, float(share) + 0.01), "lower --min_target_share", repr(parts[0].name)
    )
    # A weight on the first token alone reaches no loss.
    parts[2] = changed(parts[2], weights=np.eye(1, len(parts[2].tokens))[0])
    refused(lambda: self_check.check_targets(parts, 0.0), f"no token of example {parts[2].name!r}", "1 of 16 texts")


def test_the_prompt_must_not_be_trained_unless_asked():
    parts = parts_of(CompletionTask())
    self_check.check_prompts(parts, CompletionTask(), BYTES)
    parts[1] = changed(parts[1], weights=np.r_[0, np.ones(len(parts[1].tokens) - 1)])  # all but the begin token
    refused(lambda: self_check.check_prompts(parts, CompletionTask(), BYTES), repr(parts[1].name), "its prompt too")
    asked = MistakeTask(decode_prefix="correct", loss_on="all")
    assert "asks" in self_check.check_prompts(parts_of(asked), asked, BYTES)
    # Plain text without a prompt is no mistake.
    bare = CompletionTask(template="{question}")
    texts = parts_of(bare, [Problem("t", "", right=("text",))])
    self_check.check_prompts(texts, bare, BYTES)


def test_nothing_may_be_cut_off_unless_asked():
    task = CompletionTask()
    parts = parts_of(task)
    check = lambda truncation, count=0: self_check.check_whole(parts, task, BYTES, truncation, count)
    assert check("drop") == "nothing shortened"
    refused(lambda: check("drop", 2), "2 examples were shortened", "data.truncation='drop'")
    parts[0] = changed(parts[0], tokens=parts[0].tokens[:-1], weights=parts[0].weights[:-1])
    for truncation in ("drop", "left"):
        refused(functools.partial(check, truncation), repr(parts[0].name), "no end token", "set data.truncation='keep'")
    assert "1 of 16 texts here have lost their end" in check("keep", 5)
    long = [Problem("long", "q", right=("word " * 30,))]
    kept = parts_of(task, long, truncation="keep")
    assert "1 of 1 texts" in self_check.check_whole(kept, task, BYTES, "keep", 1)


def test_the_end_token_must_be_trained_and_stand_in_no_step():
    parts = parts_of(CompletionTask())
    assert self_check.check_ends(parts, CompletionTask(), BYTES) == "trained in 16 of 16 texts"
    weights = np.r_[parts[5].weights[:-1], 0]
    parts[5] = changed(parts[5], weights=weights)
    refused(
        lambda: self_check.check_ends(parts, CompletionTask(), BYTES), repr(parts[5].name), "would not learn to stop"
    )
    pairs = parts_of(PairTask(), STEPS)
    found = self_check.check_ends(pairs, PairTask(), BYTES)
    assert re.fullmatch(r"trained in \d+ of \d+ texts; \d+ go on", found)
    step = next(number for number, part in enumerate(pairs) if part.extras["kind"] == 1)
    pairs[step] = changed(pairs[step], tokens=np.r_[pairs[step].tokens[:-1], BYTES.end_id])
    refused(lambda: self_check.check_ends(pairs, PairTask(), BYTES), repr(pairs[step].name), "is not to be ended")
    twice = parts_of(
        CompletionTask(special_tokens="control"), [Problem("p", "q", right=("yes<|end|>",))]
    )  # as some data brings it
    refused(
        lambda: self_check.check_ends(twice, CompletionTask(), BYTES), "'p/right/0'", "before its end", "take it out"
    )
    none = parts_of(PairTask(end="none"), FULL)
    assert self_check.check_ends(none, PairTask(end="none"), BYTES) == "none, and none is due"


def test_chats_end_in_trained_end_tokens():
    turns = (Message("user", "hi"), Message("assistant", "hello")) * 2  # each turn of the assistant's has its own
    parts = parts_of(ChatTask(), [Problem("c", "hi", messages=turns)])
    assert (parts[0].tokens[parts[0].targets] == BYTES.end_id).sum() == 2
    assert self_check.check_ends(parts, ChatTask(), BYTES) == "trained in 1 of 1 texts"
    self_check.check_prompts(parts, ChatTask(), BYTES)


def test_the_begin_token_stands_once():
    assert "the tokenizer adds none" in self_check.check_begins(parts_of(CompletionTask()), ARITHMETIC)
    assert self_check.check_begins(parts_of(CompletionTask()), BYTES) == "one before each of 16 texts"
    # One in the template replaces the tokenizer's own; two are two.
    once = parts_of(CompletionTask(template="<|bos|>{question}\n"))
    self_check.check_begins(once, BYTES)
    twice = parts_of(CompletionTask(template="<|bos|><|bos|>{question}\n"))
    refused(lambda: self_check.check_begins(twice, BYTES), repr(twice[0].name), "two begin tokens")
    once[0] = changed(once[0], tokens=once[0].tokens[1:], weights=once[0].weights[1:])
    refused(lambda: self_check.check_begins(once, BYTES), repr(once[0].name), "no begin token")


def test_chosen_and_rejected_must_differ():
    parts = parts_of(PairTask())
    assert self_check.check_pairs(parts) == f"chosen and rejected differ in all {len(parts) // 2}"
    parts[3] = parts[2]._replace(at=parts[3].at)
    refused(lambda: self_check.check_pairs(parts), repr(parts[2].name), "same targets")


# --- what needs the model


@pytest.mark.parametrize(
    ("objective", "task", "problems", "words"),
    [
        (Dpo(beta=0.1), PairTask(), FULL, "loss 0.693147, in closed form 0.693147"),  # log 2
        (Dpo(kind="ipo", beta=0.5), PairTask(), FULL, "loss 1.000000, in closed form 1.000000"),  # 1 / (4 * 0.25)
        (Rise(nll_weight=0.5), PairTask(), STEPS, "in closed form 0.693147"),
        (Kto(), CompletionTask(polarities="both"), FULL, "loss 0.500000, in closed form 0.500000"),
        (Npo(beta=2.0), CompletionTask(polarities="both"), FULL, "in closed form 0.693147"),  # 2 / 2 * log 2
        (Dpo(gamma=0.5), PairTask(), FULL, "not compared: no closed form"),
        (Dco(n=64), CompletionTask(), FULL, "at n = 1"),
        (Dco(n=64, granularity="step", reduction="token_mean"), CompletionTask(steps=True), FULL, "at n = 1"),
    ],
)
def test_sound_runs_pass_and_say_what_was_found(tmp_path, objective, task, problems, words):
    # One of them through a mesh of many devices; the others compile sooner on one.
    config = config_of(objective, task, problems)
    said = check(config, tmp_path, mesh=make_mesh(config.mesh) if objective == Dpo(beta=0.1) else None)
    assert words in said
    lines = said.splitlines()
    assert lines[0].startswith("check    ")
    assert all(line.startswith(" " * 9) for line in lines[1:])


def test_without_a_reference_nothing_is_compared(tmp_path):
    assert "reference" not in check(config_of(Simpo(), PairTask()), tmp_path)


def test_cached_log_probs_pass_and_stale_ones_are_refused(tmp_path):
    cached = ReferenceConfig(kind="cached", cache_dir=str(tmp_path / "kept"))
    config = config_of(Dpo(), PairTask(), reference=cached, micro_batches=1)
    assert "as the policy" in check(config, tmp_path)
    # What the cache's own fingerprint cannot see: the numbers themselves.
    (part,) = (tmp_path / "kept").glob("*/part-*.npz")
    with np.load(part) as arrays:
        values = dict(arrays)
    values["logprob"] = values["logprob"] - 0.01
    np.savez(part, **values)
    with pytest.raises(InputError, match=r"reference: policy and reference should agree.*'p\d+/full/0'.*delete that"):
        check(config, tmp_path)


def test_a_reference_that_is_not_the_start_is_refused(tmp_path):
    config = config_of(Dpo(), PairTask())
    with pytest.raises(InputError, match=r"should agree at the start.*--reference.model.*--self_check=False"):
        check(config, tmp_path, other_reference=True)


@pytest.mark.parametrize(
    ("gap", "precise", "fine"),
    [(5e-5, True, True), (2e-4, True, False), (1e-2, False, True), (3e-2, False, False)],
)
def test_how_far_apart_policy_and_reference_may_be(gap, precise, fine):
    parts = parts_of(CompletionTask(), FULL[:2])
    shape = (len({part.at for part in parts}), 64)
    policy = TokenScores(*(np.full(shape, -1.0, np.float32) for _ in range(3)))
    reference = np.full(shape, -1.0 - gap, np.float32)
    scores = BatchScores(policy, reference, {"own": Mean(np.float32(1), np.float32(1))}, {})
    passes = lambda scores: score_checks.check_reference(scores, parts, ReferenceConfig(), precise)
    passes(scores) if fine else refused(lambda: passes(scores), "should agree")
    # One target that is far off shows in the largest difference, and hardly in the mean; others are not looked at.
    target = parts[0].of(np.arange(np.prod(shape)).reshape(shape))[parts[0].targets][0]
    reference = np.full(shape, -1.0, np.float32)
    reference[0, 3] += 0.1  # a token of the prompt
    passes(scores._replace(reference=reference))
    reference.flat[target] += 0.03 * sum(int(part.targets.sum()) for part in parts) / 2
    one = scores._replace(reference=reference)
    refused(lambda: passes(one), "should agree") if precise else passes(one)


@dataclasses.dataclass(frozen=True)
class Off:
    """DPO with the sign of the reference turned, and the closed form of the right one."""

    task: ClassVar[str] = "pair"
    needs_reference: ClassVar[bool] = True
    at_reference: ClassVar[float] = 0.6931472

    def __call__(self, policy, batch, *, reference, key):
        loss, metrics = Dpo(beta=0.1)(policy, batch, reference=reference, key=key)
        return Mean(loss.total * 1.01, loss.count), metrics


class Shifted(Dco):
    """DCO whose loss is not the cross-entropy at n = 1."""

    def __call__(self, policy, batch, **more):
        loss, metrics = super().__call__(policy, batch, **more)
        return Mean(loss.total + loss.count, loss.count), metrics


@pytest.mark.parametrize(
    ("objective", "task", "words"),
    [
        (Off(), PairTask(), "loss 0.700079, in closed form 0.693147, where policy and reference agree"),
        (Shifted(n=8), CompletionTask(), "cross-entropy .* they should be equal"),
    ],
)
def test_losses_off_their_closed_form_are_refused(tmp_path, objective, task, words):
    config = config_of(Dpo() if objective.task == "pair" else Nll(), task)
    object.__setattr__(config, "objective", objective)  # as a config file's own class is
    with pytest.raises(InputError, match=words):
        check(config, tmp_path)


def test_numbers_of_samples_that_examples_bring_do_not_disturb_the_comparison(tmp_path):
    own_n = lambda batch: batch._replace(
        extras={**batch.extras, "segment_n": np.full(batch.extras["segment_id"].shape, 50.0, np.float32)}
    )
    assert "at n = 1" in check(config_of(Dco(n=8), CompletionTask()), tmp_path, own_n)


def test_one_micro_batch_is_looked_at_and_data_checks_come_first(tmp_path):
    config = config_of(Nll(), CompletionTask(), micro_batches=1)
    spoil = lambda batch: batch._replace(weights=np.where(batch.tokens == BYTES.end_id, 0, batch.weights))
    with pytest.raises(InputError, match=r"first batch, end token: .*would not learn to stop"):
        check(config, tmp_path, spoil)


def test_scores_are_computed_once(tmp_path):
    config = config_of(Dco(n=8), CompletionTask())
    model, _, tokenizer = make_model(config, None)
    params = start(0)
    batch = make_batches(config.data, tokenizer, batch_size=4, seed=0).batch_at(0)
    calls = []
    counted = model._replace(hidden=lambda *args: calls.append(1) or model.hidden(*args))
    scores = score_batch(counted, params, batch, {"own": config.objective, "again": Dco(n=1)})
    assert len(calls) == 1
    assert float(scores.losses["own"].value) < float(scores.losses["again"].value)
    assert jnp.isfinite(scores.policy.entropy).all()


# --- through the command

TINY = ["configs/tiny.py", "held_out:none", "--no_tensorboard", "--batch_size=8", "--steps=1", "--data.source.count=40"]


def test_a_refused_run_exits_with_2_and_does_not_bind_the_next(tmp_path, capsys):
    here = f"--run_dir={tmp_path / 'run'}"
    assert train.main([*TINY, here, "--min_target_share=1"]) == ExitCode.BAD_INPUT
    said = capsys.readouterr()
    assert "error: self-check of the first batch, targets: " in said.err
    assert "'arithmetic[0:" in said.err
    assert not (tmp_path / "run" / "config.py").exists()
    assert train.main([*TINY, here, "--seed=3", "--self_check=False", "--min_target_share=1"]) == 0
    # A run that goes on is not checked again, and the check's own settings may change.
    assert train.main([*TINY, here, "--seed=3", "--steps=2", "--min_target_share=0.5"]) == 0
    assert "check    " not in capsys.readouterr().out


def test_a_sound_run_says_so_before_its_first_step(tmp_path, capsys):
    assert train.main([*TINY, f"--run_dir={tmp_path / 'run'}"]) == 0
    said = capsys.readouterr().out
    assert 0 < said.index("check    targets") < said.index("step 1/1")
