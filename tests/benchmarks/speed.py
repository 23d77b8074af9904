"""CPU seconds, page faults and peak memory of a training step or of decoding, at the shape of SmolLM2-135M.

python tests/benchmarks/speed.py step ROWS LENGTH EXAMPLE [TARGETS] [ATTENTION]   # examples of one length
python tests/benchmarks/speed.py sample ROWS PROMPT NEW

CPU seconds of the process are given besides the wall time, because other load hardly moves them. Weights and tokens are
random: they change no time. With GLIBC_TUNABLES=glibc.malloc.hugetlb=1 it is as a command runs it, without as it was.
"""

import resource
import sys
import time

import jax
import numpy as np
import optax

SMOLLM2 = {
    "vocab_size": 49_152, "width": 576, "layers": 30, "heads": 9, "kv_heads": 3, "head_dim": 64, "mlp_width": 1536,
    "tied": True, "max_length": 8192,
}  # fmt: skip


def used() -> np.ndarray:
    """CPU seconds of the program and of the system, and page faults, so far."""
    one = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([one.ru_utime, one.ru_stime, one.ru_minflt])


def measure(call, times: int = 5) -> None:
    """Print the median of several calls; the first, which compiles, is not counted."""
    jax.block_until_ready(call())
    found = []
    for _ in range(times):
        before, began = used(), time.perf_counter()
        jax.block_until_ready(call())
        found.append([*(used() - before), time.perf_counter() - began])
    user, system, faults, wall = np.median(found, axis=0)
    print(f"{user + system:.2f} CPU s ({system:.2f} of the system), {faults:,.0f} page faults, {wall:.2f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


def step(rows: str, length: str, example: str, targets: str = "0.5", attention: str = "auto") -> None:
    """A step of AdamW on packed rows; `targets` is the share of the tokens of an example that are targets."""
    from mtjax.model.decoder import DecoderConfig
    from mtjax.model.language_model import make_language_model
    from mtjax.objectives.nll import Nll
    from mtjax.training.state import init_state
    from mtjax.training.step import make_train_step
    from mtjax.types import Batch

    model = make_language_model(DecoderConfig(**SMOLLM2, attention=attention))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-4))
    update = make_train_step(model, Nll(), optimizer, chunk=512)
    shape, size = (int(rows), int(length)), int(example)
    tokens = np.random.default_rng(0).integers(0, SMOLLM2["vocab_size"], shape).astype(np.int32)
    places = np.broadcast_to(np.arange(shape[1]), shape)
    weights = (places % size >= size * (1 - float(targets))).astype(np.float32)
    batch = Batch(tokens, weights, (places // size + 1).astype(np.int32), {})
    held = [init_state(model, optimizer, jax.random.key(0))]

    def call():
        held[0], metrics = update(held[0], batch, jax.random.key(1))
        return held[0], metrics

    measure(call)


def sample(rows: str, prompt: str, new: str) -> None:
    """Sampling at temperature 1, prompts of one length."""
    from mtjax.model.decoder import DecoderConfig
    from mtjax.model.language_model import make_language_model
    from mtjax.sampling.config import SamplingConfig
    from mtjax.sampling.engine import Request, make_engine

    model, count = make_language_model(DecoderConfig(**SMOLLM2)), int(rows)
    params = model.init(jax.random.key(0))
    draw = make_engine(model, SamplingConfig(max_new_tokens=int(new), temperature=1.0), slots=count, end_ids=())
    prompts = np.random.default_rng(0).integers(1, SMOLLM2["vocab_size"], (count, int(prompt)))
    measure(
        lambda: [one.tokens for one in draw(params, [Request(ids.tolist(), n) for n, ids in enumerate(prompts)], 0)]
    )


if __name__ == "__main__":
    {"step": step, "sample": sample}[sys.argv[1]](*sys.argv[2:])
