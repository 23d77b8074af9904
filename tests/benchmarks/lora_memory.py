"""Memory of a DPO step with LoRA and with full tuning, at SmolLM2-135M on the CPU, the frozen reference included.

`PYTHONPATH=. python tests/benchmarks/lora_memory.py` prints, for each, the compiler's bytes (arguments and temporaries)
and the peak of the process; each step runs in a process of its own.
"""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

ROWS, LENGTH = 1, 128
KINDS = ("full", "lora", "lora_bfloat16_base")


def measure(kind: str) -> dict[str, float]:
    """Bytes of one step of `kind`, which is run once, in MB."""
    import resource

    import jax
    import numpy as np

    from mtjax.model.adapters.lora import Lora
    from mtjax.model.language_model import make_language_model
    from mtjax.model.sizes import size
    from mtjax.objectives.dpo import Dpo
    from mtjax.optim import OptimConfig, make_optimizer
    from mtjax.training.reference import frozen_reference
    from mtjax.training.state import changing, init_state
    from mtjax.training.step import make_step_program, make_train_step
    from mtjax.types import Batch

    base_dtype: Any = "bfloat16" if "bfloat16" in kind else "float32"
    adapter = None if kind == "full" else Lora(rank=16, base_dtype=base_dtype)
    plain = make_language_model(dataclasses.replace(size("smollm2-135m"), remat="full"))
    model = make_language_model(dataclasses.replace(plain.config, adapter=adapter))
    optimizer = make_optimizer(OptimConfig(), 10)
    policy = frozen_reference(plain)
    reference = policy if adapter is None else lambda params: policy(params["base"])
    options: dict[str, Any] = {"reference": reference}
    state = init_state(model, optimizer, jax.random.key(0))
    other = jax.jit(plain.init)(jax.random.key(0)) if adapter is None else {"base": state.params["base"]}
    tokens = np.arange(ROWS * 2 * LENGTH, dtype=np.int32).reshape(ROWS, 2, LENGTH) % 1000
    ones = np.ones_like(tokens)
    batch = Batch(tokens, ones.astype(np.float32), ones, {"segment_id": np.zeros((ROWS, 2, 1), np.int32)})
    held = model.held(state.params)
    arguments = (changing(model, state), batch, jax.random.key(1), None if held else other, *([held] if held else []))
    program = make_step_program(model, Dpo(), optimizer, **options)
    used = program.lower(*arguments).compile().memory_analysis()
    step = make_train_step(model, Dpo(), optimizer, **options)
    state, metrics = step(state, batch, jax.random.key(1), other)
    loss = float(metrics["loss"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    compiled = used.argument_size_in_bytes + used.temp_size_in_bytes + used.output_size_in_bytes
    compiled -= used.alias_size_in_bytes
    return {"compiled_mb": compiled / 1e6, "process_peak_mb": peak / 1e6, "loss": loss}


def main() -> None:
    """Measure each kind in a process of its own and print the shares of full tuning."""
    if len(sys.argv) == 2:
        print(json.dumps(measure(sys.argv[1])))
        return
    found: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        done = subprocess.run([sys.executable, __file__, kind], capture_output=True, text=True, env=dict(os.environ))
        if done.returncode:
            raise SystemExit(done.stderr)
        found[kind] = json.loads(done.stdout.splitlines()[-1])
        shares = {name: value / found["full"][name] for name, value in found[kind].items() if name.endswith("_mb")}
        numbers = ", ".join(
            f"{name} {value:,.0f} ({shares[name]:.2f} of full)" for name, value in found[kind].items() if name in shares
        )
        print(f"{kind}: {numbers}, loss {found[kind]['loss']:.6f}", flush=True)


if __name__ == "__main__":
    main()
