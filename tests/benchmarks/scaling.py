"""How a step scales: CPU seconds, memory and compile time over length, rows, vocabulary, depth and devices.

python tests/benchmarks/scaling.py [OUT.json [OUT.png]]
python tests/benchmarks/scaling.py draw FOUND.json OUT.png   # the picture again

A small model (width 256), float32, AdamW; one axis is doubled at a time. The exponent of a curve is the slope of its
logarithms over the larger half of the sizes. Rows are packed with examples of 256 tokens, and once with one example.
Devices are simulated, each with its own row, in a process of their own; so their curve is that of program size, compile
time and work on the host, not of speed.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

BASE = {"length": 1024, "example": 256, "rows": 1, "vocabulary": 8192, "layers": 4, "devices": 1}
AXES = {
    "length, packed": [{"length": 2**k} for k in range(8, 14)],
    "length, one example": [{"length": 2**k, "example": 2**k} for k in range(8, 14)],
    "rows": [{"rows": 2**k} for k in range(5)],
    "vocabulary": [{"vocabulary": 2**k} for k in range(11, 19)],
    "layers": [{"layers": 2**k} for k in range(2, 7)],
    "devices": [{"devices": 2**k, "rows": 2**k, "length": 256} for k in range(5)],
}
UNITS = {
    "step": "CPU seconds of a step",
    "memory": "scratch memory of a step, MiB",
    "compile": "CPU seconds of compiling",
}


def measure(wanted: dict) -> dict:
    """One size, in this process."""
    import jax
    import jax.numpy as jnp
    import optax

    from mtjax.distributed.sharding import MeshSpec, make_mesh
    from mtjax.model.decoder import DecoderConfig
    from mtjax.model.language_model import make_language_model
    from mtjax.objectives.nll import Nll
    from mtjax.training.fitting import chunk_for
    from mtjax.training.state import init_state
    from mtjax.training.step import make_step_program, place_batch
    from mtjax.types import Batch

    size = BASE | wanted
    shape = DecoderConfig(
        vocab_size=size["vocabulary"], width=256, layers=size["layers"], heads=4, kv_heads=2, head_dim=64, mlp_width=768
    )
    model, mesh = make_language_model(shape), make_mesh(MeshSpec(), jax.devices()[: size["devices"]])
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-4))
    chunk = chunk_for(shape.vocab_size, size["rows"] * size["length"] // size["devices"], "cpu")
    program = make_step_program(model, Nll(), optimizer, mesh=mesh, chunk=chunk)
    tokens = np.random.default_rng(0).integers(0, shape.vocab_size, (size["rows"], size["length"])).astype(np.int32)
    segments = np.broadcast_to(np.arange(size["length"]) // size["example"] + 1, tokens.shape).astype(np.int32)
    with jax.set_mesh(mesh):
        batch = place_batch(Batch(tokens, np.ones(tokens.shape, np.float32), segments, {}), mesh)
        state, key = init_state(model, optimizer, jax.random.key(0), mesh), jax.random.key(1)
        begun = time.process_time()
        compiled = program.lower(state, batch, key).compile()
        found = {"compile": time.process_time() - begun}
        steps = []
        for _ in range(4):
            begun, wall = time.process_time(), time.perf_counter()
            state, metrics = compiled(state, batch, key)
            jax.block_until_ready((state, metrics))
            steps.append((time.process_time() - begun, time.perf_counter() - wall))
    assert jnp.isfinite(metrics["loss"])
    found["step"], found["wall"] = map(float, np.median(steps[1:], axis=0))
    found["memory"] = compiled.memory_analysis().temp_size_in_bytes / 2**20
    found["program"] = len(compiled.as_text())
    return size | found


def exponent(x: list[float], y: list[float]) -> float:
    """Slope of log y over log x, of the larger half of the sizes."""
    half = len(x) // 2
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0])


def draw(found: dict[str, list[dict]], file: str) -> None:
    """One panel for each axis and unit, both scales logarithmic, the exponent in the title."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(len(UNITS), len(found), figsize=(3.2 * len(found), 8.4), layout="constrained")
    for column, (axis, rows) in enumerate(found.items()):
        name = axis.split(",")[0]
        x = [row[name] for row in rows]
        for panel, unit in zip(panels[:, column], UNITS, strict=True):
            y = [row[unit] for row in rows]
            panel.loglog(x, y, marker="o", base=2)
            shown = x[-1::-2] if len(x) > 6 else x
            panel.set_xticks(shown, [f"{value // 1024}k" if value >= 1024 else str(value) for value in shown])
            panel.minorticks_off()
            panel.set(title=f"exponent {exponent(x, y):.2f}", xlabel=axis, ylabel=UNITS[unit] if not column else "")
            low, high = min(y), max(y)
            if high < 2 * low:  # nearly constant: on a scale of its own it would look like noise
                panel.set_ylim(low / 2, high * 2)
            ends = [low, high] if high > 1.2 * low else [high]
            panel.set_yticks(ends, [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in ends])
    figure.savefig(file, dpi=90)


def main(out: str = "scaling.json", picture: str = "scaling.png") -> None:
    """Every size in a process of its own, then the table and the picture."""
    found: dict[str, list[dict]] = {}
    for axis, sizes in AXES.items():
        for wanted in sizes:
            flags = f"--xla_force_host_platform_device_count={wanted.get('devices', 1)}"
            environment = os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_COMPILATION_CACHE": "false"}
            words = [sys.executable, __file__, "one", json.dumps(wanted)]
            done = subprocess.run(words, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            found.setdefault(axis, []).append(json.loads(done.stdout.splitlines()[-1]))
            print(axis, found[axis][-1], flush=True)
        name = axis.split(",")[0]
        x = [row[name] for row in found[axis]]
        print(axis, {unit: round(exponent(x, [row[unit] for row in found[axis]]), 2) for unit in [*UNITS, "program"]})
    with open(out, "w") as file:
        json.dump(found, file, indent=1)
    draw(found, picture)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(measure(json.loads(sys.argv[2]))))
    elif sys.argv[1:2] == ["draw"]:
        with open(sys.argv[2]) as kept:
            draw(json.load(kept), sys.argv[3])
    else:
        main(*sys.argv[1:])
