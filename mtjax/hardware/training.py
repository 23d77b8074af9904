"""All devices give the numbers of one, a resumed run the bytes of one that was not stopped, samples their scores."""

import contextlib
import io
import json
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtjax.config import CheckpointConfig, Config
from mtjax.data.batches import DataConfig
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks import MistakeTask
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.hardware.losses import MODEL, parameters, subjects
from mtjax.hardware.report import Line, judged, worst
from mtjax.hardware.scale import Scale
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.optim import OptimConfig
from mtjax.runs import loop
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.engine import Request, make_engine
from mtjax.training.reference import frozen_reference
from mtjax.training.state import init_state
from mtjax.training.step import make_train_step
from mtjax.types import Batch


def check_parity() -> Iterator[Line]:
    """One update of nll and of dpo with its reference, on all devices and on the first."""
    count = len(jax.devices())
    if count == 1:
        yield Line("parity", "all devices give the numbers of one", "n/a", text="there is one device")
        return
    model = make_language_model(MODEL)
    for name in ("nll", "dpo"):
        parts = [subjects(seed)[name] for seed in range(count)]  # rows of their own for every device
        subject, batch = parts[0], jax.tree.map(lambda *rows: np.concatenate(rows), *(part.batch for part in parts))
        alone = _update(model, subject.objective, batch, None)
        for axis in ("data", "fsdp"):
            mesh = make_mesh(MeshSpec(data=count) if axis == "data" else MeshSpec(data=1, fsdp=count))
            found = _update(model, subject.objective, batch, mesh)
            apart = worst(
                np.abs(a - b).max() / (np.abs(b).max() + 1e-30)
                for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True)
            )
            yield judged("parity", f"{name} on {axis}={count}: loss, gradient norm, parameters", apart, 1e-4)


def _update(model: Any, objective: Any, batch: Batch, mesh: Any) -> Any:
    optimizer = optax.sgd(0.1)
    with jax.default_matmul_precision("highest"):
        reference = frozen_reference(model, 64)
        step = make_train_step(model, objective, optimizer, mesh=mesh, reference=reference, chunk=64)
        state = init_state(model, optimizer, jax.random.key(1), mesh)
        other = init_state(model, optimizer, jax.random.key(2), mesh).params
        state, metrics = step(state, batch, jax.random.key(0), other)
    return jax.device_get((metrics["loss"], metrics["grad_norm"], state.params))


def tiny_run(folder: pathlib.Path, steps: int) -> Config:
    """A run on generated arithmetic, with a checkpoint after half of its steps."""
    count = len(jax.devices())
    return Config(
        model=DecoderConfig(width=32, layers=2, heads=2, kv_heads=1, head_dim=16, mlp_width=96, max_length=128),
        data=DataConfig(
            source=Arithmetic(count=400, split="train", slip_probability=0.5),
            task=MistakeTask(decode_prefix="correct"),
            tokenizer="arithmetic",
            sequence_length=128,
            max_segments=4,
        ),
        optim=OptimConfig(learning_rate=5e-3, warmup_steps=2, schedule="constant"),
        checkpoint=CheckpointConfig(every=max(steps // 2, 1)),
        steps=steps,
        batch_size=count * -(-16 // count),
        tensorboard=False,
        run_dir=str(folder),
    )


def check_resume(scale: Scale) -> Iterator[Line]:
    """A run stopped at half of its steps and resumed ends with the bytes of one that was not; how long it waited."""
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        (whole, _), (again, _) = (_train(tiny_run(root / name, scale.steps)) for name in ("whole", "again"))
        yield judged("resume", "numbers that differ between two equal runs", _differing(whole, again), 0)
        _train(tiny_run(root / "half", scale.steps // 2))
        resumed, steps = _train(tiny_run(root / "half", scale.steps))
        yield judged("resume", "steps too many or too few after the resume", abs(steps - scale.steps // 2), 0)
        yield judged("resume", "numbers that differ after a save and a resume", _differing(whole, resumed), 0)
        last = json.loads((root / "whole" / "metrics.jsonl").read_text().splitlines()[-1])
        yield judged("input", "share of the time that steps waited for data", last["time/input_wait"], scale.waited)


def _train(config: Config) -> tuple[Any, int]:
    """Parameters and optimizer state at the end of a run, and how many steps were done for it."""
    steps = 0

    def watch(*_: Any) -> bool:
        nonlocal steps
        steps += 1
        return False

    with contextlib.redirect_stdout(io.StringIO()):
        result = loop.train(config, watch=watch)
    return jax.device_get((result.state.params, result.state.opt_state)), steps


def _differing(one: Any, other: Any) -> int:
    """How many numbers of two trees are not equal bit for bit."""
    bits = lambda leaf: np.atleast_1d(np.asarray(leaf)).view(np.uint8).reshape(np.size(leaf), -1)
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return sum(int((bits(a) != bits(b)).any(-1).sum()) for a, b in pairs)


def check_sampling(scale: Scale) -> Iterator[Line]:
    """The log-probability of every drawn token, from the cache, is that of the complete text without one."""
    model = make_language_model(MODEL)
    params, rng, new = parameters()[0], np.random.default_rng(0), scale.new_tokens
    prompts = [rng.integers(1, MODEL.vocab_size, size).tolist() for size in (3, 17, 40, 9)]
    with jax.default_matmul_precision("highest"):
        draw = make_engine(model, SamplingConfig(max_new_tokens=new, temperature=1.0), slots=4, end_ids=())
        answers = list(draw(params, [Request(ids, number) for number, ids in enumerate(prompts)], 0))
        width, errors = -(-(40 + new) // 128) * 128, []
        tokens, segments = np.zeros((4, width), np.int32), np.zeros((4, width), np.int32)
        for answer in answers:
            ids = [*prompts[answer.request], *answer.tokens]
            tokens[answer.request, : len(ids)], segments[answer.request, : len(ids)] = ids, 1
        batch = Batch(jnp.asarray(tokens), jnp.asarray(segments, jnp.float32), jnp.asarray(segments), {})
        scores = np.asarray(jax.jit(lambda batch: make_policy(model, params).scores(batch).logprob)(batch))
    for answer in answers:
        start = len(prompts[answer.request])
        scored = scores[answer.request, start : start + len(answer.tokens)]
        errors.append(np.abs(scored - np.asarray(answer.logprobs)).max())
    count = sum(len(answer.tokens) for answer in answers)
    yield judged("sampling", "tokens drawn", count, 4 * new, at_least=True)
    yield judged("sampling", "drawn and scored log-probabilities differ by", worst(errors), 1e-3, "nats")
