"""What each of two hosts runs in `test_two_hosts.py`: `python two_hosts.py FOLDER`; one start for all that is shown."""

import json
import os
import pathlib
import sys

import jax
import numpy as np
from jax.sharding import Mesh

from mtjax import config as settings
from mtjax.data.batches import make_batches
from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed import hosts
from mtjax.distributed.placement import own_rows, place_rows, read_own_rows, read_whole
from mtjax.distributed.sharding import MESH_AXES
from mtjax.runs import loop
from mtjax.training.checkpoint import Checkpoints, abstract_state, folders_of

SMALL = ["--model.width=16", "--model.mlp_width=32", "--model.layers=1", "--data.source.count=80", "--batch_size=8"]
SMALL += ["--steps=4", "--no_tensorboard", "--mesh.data=2", "--mesh.fsdp=4", "--overwrite"]

RUNS = {
    "mistake": ["configs/tiny.py", "--held_out.source.count=30", "--held_out.every=2", "--checkpoint.every=2"],
    "dco": ["configs/tiny_dco.py", "live-filter:live-filter", "--live_filter.threshold=0.4", "--micro_batches=1"]
    + ["coverage:coverage-config", "coverage.source:arithmetic", "--coverage.source.count=4", "held-out:none"]
    + ["--coverage.samples=2", "--coverage.every=4", "--coverage.max_tokens=8"],
    "frozen": ["configs/tiny.py", "data.task:pair-task", "objective:dpo", "--held_out.source.count=30"],
    "cached": ["configs/tiny.py", "data.task:pair-task", "objective:dpo", "--reference.kind=cached", "held-out:none"],
}
"""The runs, by name: held-out loss and saves; live filter and coverage; both kinds of reference."""


def words(name, folder):
    """The command line of a run."""
    cache = [f"--reference.cache_dir={folder / 'reference'}"] if name == "cached" else []
    return [*RUNS[name], *SMALL, f"--run_dir={folder / name}", *cache]


def rows():
    """Which examples this host's batches hold, and whether rows find their way to the mesh and back."""
    found = {}
    devices = np.array(jax.devices())
    across = devices.reshape(2, 4).T.ravel()  # neighbours are of different hosts
    shape = lambda **sizes: [sizes.get(axis, 1) for axis in MESH_AXES]
    meshes = {
        "split": devices.reshape(shape(data=2, fsdp=4)),
        "mixed": across.reshape(shape(data=4, fsdp=2)),
        "shared": across.reshape(shape(data=4, tensor=2)),  # each copy of the model lies on both hosts
    }
    config = settings.load("configs/tiny.py", SMALL)
    for name, order in meshes.items():
        mesh = Mesh(order, MESH_AXES)
        mine = own_rows(mesh, 16)
        batches = make_batches(config.data, load_tokenizer("arithmetic"), batch_size=16, seed=3, rows=mine)
        whole = make_batches(config.data, load_tokenizer("arithmetic"), batch_size=16, seed=3)
        batch = batches.batch_at(1)
        placed = place_rows(batch, mesh)  # the second batch of 41 rows: no example is there twice
        np.testing.assert_array_equal(read_whole(placed.tokens), whole.batch_at(1).tokens)
        np.testing.assert_array_equal(read_own_rows(placed.tokens), batch.tokens)
        found[name] = [mine.tolist(), batches.ids_at(1), whole.ids_at(1)]
    return found


def apart(state, run):
    """The newest step of another run's checkpoints, and the largest difference between its parameters and ours."""
    checkpoints = Checkpoints(folders_of(run)[0])
    step, other = checkpoints.restore_latest(abstract_state(state))
    checkpoints.close()
    both = zip(jax.tree.leaves(state.params), jax.tree.leaves(other.params), strict=True)
    return step, float(np.max([abs(a - b).max() for a, b in both]))


def main(folder, *names):
    """Run these; each host leaves what it saw in `FOLDER/host-N.json`."""
    with hosts.session():
        seen = {"rows": rows()}
        for name in names:
            command = words(name, folder)
            result = loop.train(settings.load(command[0], command[1:]))
            seen[name] = int(result.exit_code)
            if "OTHER" in os.environ:
                seen[f"{name} of two"] = apart(result.state, pathlib.Path(os.environ["OTHER"]) / name)
        (folder / f"host-{hosts.index()}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
