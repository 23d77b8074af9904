"""CPU seconds, page faults and peak memory of a training step or of decoding, at the shape of SmolLM2-135M.

python tests/benchmarks/speed.py step ROWS LENGTH EXAMPLE [TARGETS] [ATTENTION] [REMAT]   # examples of one length
python tests/benchmarks/speed.py sample ROWS PROMPT NEW
python tests/benchmarks/speed.py limit TOKENS [TARGETS]   # the products of such a step alone, each by itself

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


def step(
    rows: str, length: str, example: str, targets: str = "0.5", attention: str = "auto", remat: str = "dots"
) -> None:
    """A step of AdamW on packed rows; `targets` is the share of the tokens of an example that are targets."""
    from mtjax.model.decoder import DecoderConfig
    from mtjax.model.language_model import make_language_model
    from mtjax.objectives.nll import Nll
    from mtjax.training.state import init_state
    from mtjax.training.step import make_train_step
    from mtjax.types import Batch

    model = make_language_model(DecoderConfig(**SMOLLM2, attention=attention, remat=remat))
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


def limit(tokens: str, targets: str = "0.5") -> None:
    """What the matrix products of a step cost alone, forward and both gradients, and the fastest of them.

    Their sum is what is left of a step when everything else is free; all at the rate of the fastest is the limit that
    MFU is measured against. Attention's own products, about 2 % of them at 1,024 tokens, are left out.
    """
    width, hidden, heads, kept = (SMOLLM2[name] for name in ("width", "mlp_width", "heads", "kv_heads"))
    count, layers, size = int(tokens), SMOLLM2["layers"], SMOLLM2["head_dim"]
    head = min(512, count)
    shapes = [  # name, rows, columns in and out, how often in a step
        ("queries, out", count, width, heads * size, 2 * layers),
        ("keys, values", count, width, kept * size, 2 * layers),
        ("gate, up", count, width, hidden, 2 * layers), ("down", count, hidden, width, layers),
        ("head", head, width, SMOLLM2["vocab_size"], count * float(targets) / head),
    ]  # fmt: skip
    rng, seconds, flops, best = np.random.default_rng(0), 0.0, 0.0, 0.0
    for name, rows, wide, out, times in shapes:
        x, w, y = (
            jax.device_put(rng.normal(size=shape).astype("f")) for shape in ((rows, wide), (wide, out), (rows, out))
        )
        for kind, program, parts in (
            ("forward", lambda a, b: a @ b, (x, w)), ("by input", lambda a, b: a @ b.T, (y, w)),
            ("by weight", lambda a, b: a.T @ b, (x, y)),
        ):  # fmt: skip
            compiled, found = jax.jit(program), []
            compiled(*parts).block_until_ready()
            for _ in range(9):
                before = used()
                for _ in range(3):
                    compiled(*parts).block_until_ready()
                found.append((used() - before)[:2].sum() / 3)
            own, work = float(np.median(found)), 2 * rows * wide * out
            best, seconds, flops = max(best, work / own), seconds + times * own, flops + times * work
            print(f"{name:>13} {kind:>9}: {own * 1e3:7.2f} CPU ms, {work / own / 1e9:6.1f} GFLOP per CPU s")
    print(
        f"all products of a step: {flops / 1e9:,.0f} GFLOP, {seconds:.2f} CPU s; at the fastest rate {flops / best:.2f}"
    )


def sample(rows: str, prompt: str, new: str) -> None:
    """Sampling at temperature 1, prompts of one length."""
    from mtjax.model.decoder import DecoderConfig
    from mtjax.model.language_model import make_language_model
    from mtjax.sampling.config import SamplingConfig
    from mtjax.sampling.engine import Request, make_engine

    model, count = make_language_model(DecoderConfig(**SMOLLM2)), int(rows)
    params = jax.jit(model.init)(jax.random.key(0))
    draw = make_engine(model, SamplingConfig(max_new_tokens=int(new), temperature=1.0), slots=count, end_ids=())
    prompts = np.random.default_rng(0).integers(1, SMOLLM2["vocab_size"], (count, int(prompt)))
    measure(
        lambda: [one.tokens for one in draw(params, [Request(ids.tolist(), n) for n, ids in enumerate(prompts)], 0)]
    )


if __name__ == "__main__":
    {"step": step, "limit": limit, "sample": sample}[sys.argv[1]](*sys.argv[2:])
