"""The fastest float32 product of SmolLM2-135M's own shapes here, with one library: `peak.py jax | torch | numpy`.

Prints GFLOP per second and per CPU second, each of its best shape, as one JSON object. It needs the library alone.
"""

import json
import resource
import sys
import time

SHAPES = {"queries": (1024, 576, 576), "gate": (1024, 576, 1536), "down": (1024, 1536, 576), "head": (512, 576, 49_152)}
"""Rows, columns in and columns out of a product, for 1,024 tokens, and for 512 of them in the head."""


def product(library: str, rows: int, wide: int, out: int):
    """A call that computes one product and waits for it."""
    if library == "torch":
        import torch

        left, right = torch.ones(rows, wide), torch.ones(wide, out)
        return lambda: left @ right
    if library == "numpy":
        import numpy as np

        first, second = np.ones((rows, wide), np.float32), np.ones((wide, out), np.float32)
        return lambda: first @ second
    import jax
    import jax.numpy as jnp

    x, w = jnp.ones((rows, wide)), jnp.ones((wide, out))
    multiply = jax.jit(jnp.matmul)
    return lambda: multiply(x, w).block_until_ready()


def now() -> tuple[float, float]:
    """Time, and CPU seconds of the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def main(library: str, seconds: float = 1.5) -> None:
    """For every shape, as many batches of calls as fit into `seconds`; the best batch counts."""
    best = {"wall": 0.0, "cpu": 0.0}
    for rows, wide, out in SHAPES.values():
        call, work = product(library, rows, wide, out), 2e-9 * rows * wide * out
        call()
        times, ended = max(1, int(30 / work)), time.perf_counter() + seconds
        while time.perf_counter() < ended:
            wall, cpu = now()
            for _ in range(times):
                call()
            after = now()
            best["wall"] = max(best["wall"], times * work / (after[0] - wall))
            best["cpu"] = max(best["cpu"], times * work / (after[1] - cpu))
    print(json.dumps(best))


if __name__ == "__main__":
    main(sys.argv[1])
