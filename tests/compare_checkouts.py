"""Two checkouts of mtjax do the same small jobs, and everything that comes out is compared bit for bit.

`python tests/compare_checkouts.py BEFORE AFTER`, in an environment with mtjax's dependencies; two to four minutes on
two cores. Each checkout runs its own commands on its own configs, on one CPU device, in a folder of its own. Prints a
line per compared thing, and exits with 1 where one differs or a job fails.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

NOT_COMPARED = (
    "`time/...` of metrics.jsonl, `about` of manifests (versions, device), `settings` of evaluation.json, TensorBoard "
    "files, snapshots, and what commands print besides explain, generate and transitions"
)

FEW = ["--no_tensorboard", "--checkpoint.every=8"]
SMALL = [*FEW, "--data.source.count=200", "--held_out.source.count=40", "--held_out.every=8", "--held_out.batches=2"]
MINE = ["mine", "runs/tiny", "--data.source.count=16", "--samples=4", "--max_new_tokens=24", "--rows=16"]
INJECT = ["inject", "source:arithmetic", "--source.count=200", "--source.split=train"]
JOBS = {
    "tiny": ["train", "configs/tiny.py", *SMALL, "--steps=40"],
    "tiny, resumed": ["train", "configs/tiny.py", *SMALL, "--steps=48", "--export=runs/exported"],
    "tiny_dco": ["train", "configs/tiny_dco.py", *SMALL, "--steps=16"],
    "inject": [*INJECT, "--output=runs/tiny_errors", "--per_problem=2"],
    "inject, carried": [*INJECT, "--output=runs/carried", "--carry_forward", "--seed=1"],
    "tiny_rise": ["train", "configs/tiny_rise.py", *FEW, "--steps=16"],
    "explain tiny": ["explain", "runs/tiny", "--step=49", "--examples=0", "--tokens"],
    "explain tiny_dco": ["explain", "runs/tiny_dco", "--step=3", "--checkpoint=newest", "--examples=0", "--tokens"],
    "explain tiny_rise": ["explain", "runs/tiny_rise", "--step=17", "--examples=0", "--tokens"],
    "mine": [*MINE, "--mistakes"],
    "mine, greedy": [*MINE, "--temperature=0", "--output=runs/greedy"],
    "transitions": ["transitions", "runs/tiny/mined", "runs/greedy"],
    "generate": ["generate", "runs/tiny", "12 + 5 =\n", "3 - 1 =\n", "--json", "--temperature=1", "--samples=4"],
    "evaluate": ["evaluate", "runs/tiny", "--samples=2", "--limit=8"],
}
"""The jobs, in order: later ones use what earlier ones made."""


def work(checkout, place, compiled):
    """Do all jobs of a checkout in a folder; what each printed, by its name. RuntimeError where one fails."""
    place.mkdir()
    (place / "configs").symlink_to(checkout / "configs")
    own = {"PYTHONPATH": str(checkout), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "COLUMNS": "120"}
    own |= {"JAX_COMPILATION_CACHE_DIR": str(compiled), "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1"}
    where = "import mtjax; print(mtjax.__file__)"
    found = subprocess.check_output([sys.executable, "-c", where], cwd=place, env=os.environ | own, text=True).strip()
    if not pathlib.Path(found).is_relative_to(checkout):
        raise RuntimeError(f"{checkout} is no checkout of mtjax: `import mtjax` gives {found}")
    said = {}
    for name, words in JOBS.items():
        begun = time.perf_counter()
        command = [sys.executable, "-m", f"mtjax.{words[0]}", *words[1:]]
        done = subprocess.run(command, cwd=place, env=os.environ | own, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"job '{name}' of {checkout} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        said[name] = done.stdout
        print(f"ran      {checkout.name}: {name}, {time.perf_counter() - begun:.0f} s", flush=True)
    return said


def results(place, said):
    """Everything that is compared, by a name to print: lists and dictionaries of plain values, arrays and texts."""
    runs, out = place / "runs", {}
    for run in ("tiny", "tiny_dco", "tiny_rise"):
        lines = _lines(runs / run / "metrics.jsonl")
        out[f"{run}: metrics.jsonl"] = [
            {k: v for k, v in line.items() if not k.startswith("time/")} for line in lines
        ]  # fmt: skip
        for kind in ("checkpoints", "best"):
            steps = sorted(int(step.name) for step in (runs / run / kind).glob("[0-9]*"))
            out[f"{run}: steps in {kind}"] = steps
            if steps:
                out[f"{run}: state of step {steps[-1]} in {kind}"] = _state(runs / run / kind / str(steps[-1]))
        out[f"{run}: batch, losses and metrics as explained"] = said[f"explain {run}"].splitlines()
    out["tiny: exported weights"] = _weights(runs / "exported" / "model.safetensors")
    for folder in ("tiny_errors", "carried", "tiny/mined", "greedy"):
        for file in sorted((runs / folder).glob("*.jsonl")):
            out[f"{folder}: {file.name}"] = _lines(file)
        manifest = json.loads((runs / folder / "manifest.json").read_text())
        out[f"{folder}: manifest.json"] = {key: value for key, value in manifest.items() if key != "about"}
    numbers = json.loads((runs / "tiny" / "evaluation" / "evaluation.json").read_text())
    out["evaluate: numbers"] = {key: value for key, value in numbers.items() if key != "settings"}
    out["evaluate: samples.jsonl"] = _lines(runs / "tiny" / "evaluation" / "samples.jsonl")
    out["generate: answers"] = [json.loads(line) for line in said["generate"].splitlines()]
    out["transitions: table"] = said["transitions"].splitlines()
    return out


def _lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def _state(folder):
    """Parameters, optimizer and step of a checkpoint, each leaf by its name."""
    import jax
    import orbax.checkpoint as ocp

    with warnings.catch_warnings(action="ignore"), ocp.StandardCheckpointer() as reader:
        leaves = jax.tree_util.tree_flatten_with_path(reader.restore(folder / "default"))[0]
    return {jax.tree_util.keystr(path): jax.device_get(leaf) for path, leaf in leaves}


def _weights(file):
    from safetensors.numpy import load_file

    return load_file(file)


def difference(a, b, name=""):
    """The first place in which two results differ, in words; None where they are equal bit for bit."""
    if hasattr(a, "dtype") and hasattr(b, "dtype"):
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return f"{name}: {a.dtype} {a.shape} before, {b.dtype} {b.shape} after"
        other = a.tobytes() != b.tobytes()
        return f"{name}: {(a != b).sum()} of {a.size} numbers, at most {abs(a - b).max():.3g} apart" if other else None
    if type(a) is not type(b):
        return f"{name}: {a!r:.80} before, {b!r:.80} after"
    if isinstance(a, dict):
        gone, new = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
        if gone or new:
            return f"{name}: only before {gone[:4]}, only after {new[:4]}"
        return next(filter(None, (difference(a[key], b[key], f"{name}[{key}]") for key in a)), None)
    if isinstance(a, list):
        pairs = enumerate(zip(a, b, strict=False))
        found = next(filter(None, (difference(x, y, f"{name}[{place}]") for place, (x, y) in pairs)), None)
        return found or (None if len(a) == len(b) else f"{name}: {len(a)} entries before, {len(b)} after")
    return None if repr(a) == repr(b) else f"{name}: {a!r:.100} before, {b!r:.100} after"


def main():
    """Run, compare, print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=pathlib.Path, help="a checkout of mtjax")
    parser.add_argument("after", type=pathlib.Path, help="another")
    parser.add_argument("--keep", type=pathlib.Path, help="a new folder for what the jobs write; default: none is kept")
    given = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    print(f"not compared: {NOT_COMPARED}")
    with tempfile.TemporaryDirectory() as folder:
        place = given.keep or pathlib.Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        try:
            found = [
                results(place / name, work(checkout.resolve(), (place / name).absolute(), (place / "jax").absolute()))
                for name, checkout in (("before", given.before), ("after", given.after))
            ]
        except (RuntimeError, OSError) as error:
            print(f"FAILED   {error}")
            return 1
    before, after = found
    differing = 0
    for name in dict.fromkeys([*before, *after]):
        missing = "before" if name not in before else "after" if name not in after else None
        told = f"absent {missing}" if missing else difference(before[name], after[name])
        differing += told is not None
        print(f"{'equal' if told is None else 'DIFFERS':<8} {name}" + (f"  {told}" if told else ""))
    print(f"{differing} of {len(dict.fromkeys([*before, *after]))} differ")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
