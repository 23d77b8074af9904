"""How long training stands still while a checkpoint is begun, and how much slower steps are while it is written.

python tests/benchmarks/checkpoint_stall.py [LAYERS ...] [--folder=DIR] [--rows=2] [--saves=5]

Models of SmolLM2's width, float32, AdamW, steps of ROWS rows of 1,024 tokens. Every save is followed by steps until it
is on the disk, and by one more. Printed are medians: a step without a checkpoint, what `save` takes of the loop, a step
while files are written, and the time until they are there.
"""

import argparse
import dataclasses
import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np
import optax

from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.objectives.nll import Nll
from mtjax.training.checkpoint import Checkpoints
from mtjax.training.state import init_state
from mtjax.training.step import make_train_step
from mtjax.types import Batch

WIDE = DecoderConfig(vocab_size=49_152, width=576, heads=9, kv_heads=3, head_dim=64, mlp_width=1536)


def measure(layers: int, rows: int, saves: int, folder: str | None) -> dict[str, float]:
    """Medians for one depth, in seconds, and the size of the state in MB."""
    model = make_language_model(dataclasses.replace(WIDE, layers=layers))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-4))
    update = make_train_step(model, Nll(), optimizer, chunk=512)
    shape = (rows, 1024)
    tokens = np.random.default_rng(0).integers(0, WIDE.vocab_size, shape).astype(np.int32)
    segments = np.broadcast_to(np.arange(1024) // 256 + 1, shape).astype(np.int32)
    batch, key = Batch(tokens, np.ones(shape, np.float32), segments, {}), jax.random.key(1)
    state = init_state(model, optimizer, jax.random.key(0))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6
    found: dict[str, list[float]] = {"step": [], "save": [], "step, writing": [], "until written": []}

    def step(kind: str) -> None:
        nonlocal state
        begun = time.perf_counter()
        state, metrics = update(state, batch, key)
        jax.block_until_ready((state, metrics))
        found.setdefault(kind, []).append(time.perf_counter() - begun)

    with tempfile.TemporaryDirectory(dir=folder) as place:
        checkpoints = Checkpoints(pathlib.Path(place) / "checkpoints", keep=1)
        step("compiling")
        for number in range(saves + 1):
            step("step")
            begun = time.perf_counter()
            checkpoints.save(number, state)
            found["save"].append(time.perf_counter() - begun)
            while checkpoints.manager.is_saving_in_progress():
                step("step, writing")
            found["until written"].append(time.perf_counter() - begun)
        checkpoints.close()
    median = lambda values: statistics.median(values[1:] or values)
    return {"layers": layers, "MB": round(size), **{kind: median(found[kind]) for kind in list(found)[:4]}}


def main() -> None:
    """A line for each depth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", type=int, nargs="*", default=[4, 8, 15, 30])
    parser.add_argument("--folder", help="where checkpoints are written; the default is the folder of temporary files")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--saves", type=int, default=5)
    asked = parser.parse_args()
    for layers in asked.layers:
        row = measure(layers, asked.rows, asked.saves, asked.folder)
        share = row["save"] / row["step"]
        print(", ".join(f"{name} {value:.4g}" for name, value in row.items()), f"; save is {share:.1%} of a step")


if __name__ == "__main__":
    main()
