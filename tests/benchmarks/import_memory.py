"""Peak memory of loading a sharded checkpoint, against the size of the parameters, on the CPU.

`PYTHONPATH=. python tests/benchmarks/import_memory.py [FOLDER] [GB]` writes a random bfloat16 checkpoint of several
files into FOLDER (default: a temporary one, deleted at the end), loads it in a process of its own, and prints the
parameters' size, the largest tensor, and the peaks of anonymous memory (what the process allocates) and of resident
memory (with the pages of the files that are mapped, which the system takes back when memory is short).
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

SHAPE = {"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 16}
SHAPE |= {"num_key_value_heads": 4, "head_dim": 128, "model_type": "llama", "tie_word_embeddings": False}
SHAPE |= {"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "torch_dtype": "bfloat16"}


def write(folder: pathlib.Path, gigabytes: float) -> None:
    """A checkpoint of about that size, a file for every two layers."""
    import ml_dtypes
    import numpy as np
    from safetensors.numpy import save_file

    width, hidden, rows = SHAPE["hidden_size"], SHAPE["intermediate_size"], SHAPE["vocab_size"]
    heads, kv = (SHAPE[f"num_{kind}_heads"] * SHAPE["head_dim"] for kind in ("attention", "key_value"))
    layer = {
        "input_layernorm": (width,), "post_attention_layernorm": (width,), "self_attn.q_proj": (heads, width),
        "self_attn.k_proj": (kv, width), "self_attn.v_proj": (kv, width), "self_attn.o_proj": (width, heads),
        "mlp.gate_proj": (hidden, width), "mlp.up_proj": (hidden, width), "mlp.down_proj": (width, hidden),
    }  # fmt: skip
    size = 2 * sum(int(np.prod(shape)) for shape in layer.values())
    layers = max(2, round((gigabytes * 1e9 - 4 * rows * width) / size))
    random = np.random.default_rng(0)
    make = lambda shape: (0.02 * random.standard_normal(shape, np.float32)).astype(ml_dtypes.bfloat16)
    where: dict[str, str] = {}
    ends = {"model.embed_tokens": (rows, width), "model.norm": (width,), "lm_head": (rows, width)}
    parts = [ends] + [
        {f"model.layers.{number}.{name}": shape for number in pair for name, shape in layer.items()}
        for pair in (range(first, min(first + 2, layers)) for first in range(0, layers, 2))
    ]
    for number, part in enumerate(parts, start=1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        save_file({f"{name}.weight": make(shape) for name, shape in part.items()}, folder / file)
        where |= dict.fromkeys((f"{name}.weight" for name in part), file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (folder / "config.json").write_text(json.dumps(SHAPE | {"num_hidden_layers": layers}))


def measure(folder: str, storage: str) -> dict[str, float]:
    """Load it; sizes in MB."""
    import jax

    from mtjax.model import huggingface

    def status(name: str) -> float:
        text = pathlib.Path("/proc/self/status").read_text()
        return int(text.split(f"{name}:")[1].split()[0]) / 1e3

    jax.block_until_ready(jax.numpy.zeros(1))
    before, peaks, done = status("RssAnon"), [0.0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peaks[0] = max(peaks[0], status("RssAnon"))
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.process_time()
    _, params = huggingface.load(folder, storage=storage)  # type: ignore[arg-type]
    seconds = time.process_time() - started
    done.set()
    watcher.join()
    sizes = [leaf.nbytes / 1e6 for leaf in jax.tree.leaves(params)]
    return {
        "parameters_mb": sum(sizes), "largest_stacked_mb": max(sizes), "largest_tensor_mb": 4 * 32000 * 2048 / 1e6,
        "peak_anonymous_mb": peaks[0] - before, "peak_resident_mb": status("VmHWM"), "cpu_seconds": seconds,
    }  # fmt: skip


def main() -> None:
    """The measurement of both types of storage, each in a process."""
    if len(sys.argv) == 4 and sys.argv[1] == "measure":
        print(json.dumps(measure(sys.argv[2], sys.argv[3])))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        if not (folder / "config.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write(folder, float(sys.argv[2]) if len(sys.argv) > 2 else 2.0)
        for storage in ("float32", "bfloat16"):
            words = [sys.executable, __file__, "measure", str(folder), storage]
            out = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ).stdout
            found = json.loads(out.splitlines()[-1])
            print(storage, {name: round(value, 1) for name, value in found.items()})


if __name__ == "__main__":
    main()
