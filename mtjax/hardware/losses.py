"""Loss and gradient of four objectives against float64 on the host, and log-probabilities by chunks of logits."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.hardware import host
from mtjax.hardware.report import Line, judged, worst
from mtjax.model.attention import choice_for
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.objectives.dco import Dco
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.nll import Nll
from mtjax.objectives.rise import Rise
from mtjax.training.reference import frozen_reference
from mtjax.types import Batch

MODEL = DecoderConfig(
    vocab_size=64, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=48, init_scale=0.2, tied=False,
    attention="plain",
)  # fmt: skip
LENGTH, TEXTS, STEP = 128, 4, 1e-4  # tokens of a row, packed texts in it, step of a difference quotient
LOSS, GRADIENT, BY_KERNEL = 1e-5, 1e-4, 2e-2  # largest relative errors; the last with the platform's own kernel
BETA, NLL_WEIGHT, SAMPLES = 0.4, 0.5, 256


@functools.cache
def parameters() -> tuple[Any, Any]:
    """Parameters of `MODEL`, which no kernel changes, and of its reference; one program instead of one per array."""
    init = jax.jit(make_language_model(MODEL).init)
    return init(jax.random.key(1)), init(jax.random.key(2))


class Subject(NamedTuple):
    """An objective, the batch it gets, and its loss from log-probabilities of policy and reference in float64."""

    objective: Any
    batch: Batch
    loss: Callable[[Any, Any], float]


def subjects(seed: int = 0) -> dict[str, Subject]:
    """nll, dpo, rise and dco on packed random texts; dco on answers of one token, where its factor is not 1."""
    rng = np.random.default_rng(seed)
    segments = _segments(rng)
    starts = np.ones_like(segments, bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    single = Batch(rng.integers(1, 64, segments.shape).astype(np.int32), _some(rng, segments, starts), segments, {})
    ends = np.zeros(segments.shape, np.float32)
    ends[:, :-1] = (segments[:, :-1] != segments[:, 1:]) & (segments[:, :-1] > 0)
    both = np.stack([segments, segments], 1)
    two = np.stack([_some(rng, segments, starts), _some(rng, segments, starts)], 1)
    kind = np.broadcast_to((np.arange(TEXTS) % 2).astype(np.float32), (len(segments), 2, TEXTS)).copy()
    pairs = Batch(rng.integers(1, 64, both.shape).astype(np.int32), two, both, {"segment_kind": kind})
    marked = {"segment_kind": kind[:, 0]}
    texts = lambda scores, batch: host.text_logprobs(scores, batch.weights, batch.segments, TEXTS)

    def ratios(ours: Any, theirs: Any) -> Any:
        return np.moveaxis(texts(ours, pairs) - texts(theirs, pairs), 1, 0)

    def of_dpo(ours: Any, theirs: Any) -> float:
        chosen, rejected = ratios(ours, theirs)
        return float(host.dpo(chosen, rejected, BETA).mean())

    def of_rise(ours: Any, theirs: Any) -> float:
        chosen, rejected = ratios(ours, theirs)
        settings = {"beta": BETA, "nll_weight": NLL_WEIGHT, "margin": 1e-3}
        return float(host.rise(chosen, rejected, texts(ours, pairs)[:, 0], kind[:, 0], **settings).mean())

    answers = single._replace(weights=ends, extras=marked)
    return {
        "nll": Subject(Nll(), single, lambda ours, _: host.nll(ours, single.weights, starts)),
        "dpo": Subject(Dpo(beta=BETA), pairs, of_dpo),
        "rise": Subject(Rise(beta=BETA, nll_weight=NLL_WEIGHT), pairs, of_rise),
        "dco": Subject(Dco(n=SAMPLES), answers, lambda ours, _: float(host.dco(texts(ours, answers), SAMPLES).mean())),
    }


def _segments(rng: np.random.Generator) -> np.ndarray:
    segments = np.zeros((2, LENGTH), np.int32)
    for row in segments:
        ends = [0, *np.sort(rng.choice(np.arange(8, LENGTH - 16, 8), TEXTS - 1, replace=False)), LENGTH - 6]
        for number, (start, end) in enumerate(zip(ends, ends[1:], strict=False), 1):
            row[start:end] = number
    return segments


def _some(rng: np.random.Generator, segments: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Weights: about a third of the tokens are targets, and the second token of each text."""
    second = np.zeros_like(starts)
    second[:, 1:] = starts[:, :-1]
    return (((rng.random(segments.shape) < 0.3) | second) & ~starts & (segments > 0)).astype(np.float32)


def check_losses() -> Iterator[Line]:
    """Each objective's loss, and its gradient leaf by leaf in two directions: its own, and a random one."""
    with jax.default_matmul_precision("highest"):
        for name, subject in subjects().items():
            yield from _compare(name, subject, MODEL, LOSS, GRADIENT)
        by_kernel = dataclasses.replace(MODEL, attention="auto")
        kernel = choice_for(by_kernel, LENGTH).name
        if kernel == "plain":
            yield Line("losses", "nll with a kernel", "n/a", text="this platform has none for these rows")
        else:
            yield from _compare("nll", subjects()["nll"], by_kernel, BY_KERNEL, BY_KERNEL, f" with {kernel} attention")


def _compare(name: str, subject: Subject, config: Any, loss: float, gradient: float, more: str = "") -> Iterator[Line]:
    model = make_language_model(config)
    params, other = parameters()
    batch = jax.tree.map(jnp.asarray, subject.batch)

    def total(params: Any) -> Any:
        policy = make_policy(model, params, chunk=64, targets_only=True)
        return subject.objective(policy, batch, reference=frozen_reference(model, 64)(other))[0].value

    value, slope = jax.jit(jax.value_and_grad(total))(params)
    wide = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    start, theirs, slope = wide(params), _scores(wide(other), config, subject.batch), wide(slope)
    exact = lambda params: subject.loss(_scores(params, config, subject.batch), theirs)
    expected = exact(start)
    yield judged("losses", f"{name}: loss{more}", abs(float(value) - expected) / abs(expected), loss)

    leaves, tree = jax.tree.flatten(start)
    slopes, rng, errors = jax.tree.leaves(slope), np.random.default_rng(3), []
    largest = worst(float(np.linalg.norm(one)) for one in slopes)
    for place, own in enumerate(slopes):
        for way in (own, rng.normal(size=own.shape)):
            way = way / max(np.linalg.norm(way), 1e-30)
            moved = lambda step, place=place, way=way: exact(
                jax.tree.unflatten(tree, [*leaves[:place], leaves[place] + step * way, *leaves[place + 1 :]])
            )
            quotient = (moved(STEP) - moved(-STEP)) / (2 * STEP)
            errors.append(abs(quotient - float((own * way).sum())) / largest)
    yield judged("losses", f"{name}: gradient of {len(leaves)} leaves{more}", worst(errors), gradient)


def _scores(params: Any, config: Any, batch: Batch) -> np.ndarray:
    """Log-probabilities of the batch's tokens on the host, whatever axes stand in front of time."""
    flat = [x.reshape(-1, LENGTH) for x in (batch.tokens, batch.segments)]
    return host.token_logprobs(params, config, *flat).reshape(batch.tokens.shape)


def check_chunks() -> Iterator[Line]:
    """Log-probabilities from logits of some positions at a time, of all tokens and of targets alone."""
    model, batch = make_language_model(MODEL), subjects()["nll"].batch
    params, _ = parameters()
    placed = jax.tree.map(jnp.asarray, batch)
    expected = _scores(jax.tree.map(lambda x: np.asarray(x, np.float64), params), MODEL, batch)
    with jax.default_matmul_precision("highest"):
        for chunk in (16, 256):
            for targets in (False, True):
                policy = make_policy(model, params, chunk=chunk, targets_only=targets)
                found = np.asarray(jax.jit(lambda batch, policy=policy: policy.scores(batch).logprob)(placed))
                asked = (batch.weights != 0) if targets else np.ones(found.shape, bool)
                what = f"{chunk} positions at a time{', targets alone' if targets else ''}"
                yield judged("chunks", what, float(np.abs(found - expected)[asked].max()), 1e-5, "nats")
