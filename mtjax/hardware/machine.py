"""What the machine is: devices, versions, memory, links; and what its matrix units and memory reach."""

import contextlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.distributed.hosts import ALIKE, ENVIRONMENT
from mtjax.hardware import clock
from mtjax.hardware.report import Line, judged, measured
from mtjax.hardware.scale import Scale
from mtjax.training.fitting import device_memory
from mtjax.training.metrics_log import peak_flops

PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin", "jax-rocm7-plugin", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13")
GIB = 2**30


def about() -> dict[str, Any]:
    """What a report says in front: the devices, and versions of all that takes part."""
    devices = jax.devices()
    packages = {}
    for name in (*ALIKE, *PLUGINS, "mtjax"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    return {
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "platform": devices[0].platform,
        "platform version": devices[0].client.platform_version.replace("\n", " "),
        "driver": _driver(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "packages": packages,
        "variables": {name: os.environ[name] for name in ENVIRONMENT if os.environ.get(name)},
    }


def _driver() -> str:
    """The cards and the driver, from nvidia-smi where it is."""
    if shutil.which("nvidia-smi") is None:
        return ""
    words = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.strip()
    return ""


def check_machine(scale: Scale) -> Iterator[Line]:
    """Memory of a device, the way to it, and the links between devices."""
    devices = jax.devices()
    yield measured("machine", "devices", len(devices), text=devices[0].device_kind)
    yield measured("machine", "memory of a device", device_memory(devices[0]) / GIB, "GiB")
    held = np.ones(scale.copied // 4, np.float32)
    there = jax.device_put(held, devices[0])
    put = lambda held: (placed := jax.device_put(held, devices[0]), placed[:1])
    gigabytes = lambda seconds: scale.copied / seconds / 1e9
    yield measured("machine", "host to device", gigabytes(clock.seconds_of(lambda: put(held))), "GB/s")

    def back() -> np.ndarray:
        return np.asarray(jax.device_put(there, devices[0]) + 0)

    yield measured("machine", "device to host", gigabytes(clock.seconds_of(back)), "GB/s")
    add = jax.jit(lambda x: (x + 1, x[0]))
    yield measured("machine", "memory, read and written", 2 * gigabytes(clock.seconds_of(lambda: add(there))), "GB/s")
    yield from _links(scale, devices)


def _links(scale: Scale, devices: list[Any]) -> Iterator[Line]:
    if len(devices) == 1:
        yield Line("machine", "links between devices", "n/a", text="there is one device")
        return
    mesh = jax.make_mesh((len(devices),), ("all",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = jax.NamedSharding(mesh, jax.P("all")), jax.NamedSharding(mesh, jax.P())
    count = scale.copied // 4 // len(devices) * len(devices)
    held = jax.device_put(np.arange(count, dtype=np.float32) % 1000, split)
    gather = jax.jit(lambda x: (x, x[0]), out_shardings=whole)
    seconds = clock.seconds_of(lambda: gather(held))
    moved = 4 * count * (len(devices) - 1) / len(devices)
    yield measured(
        "machine", f"all-gather over {len(devices)} devices, received by each", moved / seconds / 1e9, "GB/s"
    )
    total = float(jax.jit(jnp.sum, out_shardings=whole)(held.astype(jnp.float32) / 1000))
    expected = float((np.arange(count, dtype=np.float64) % 1000).sum() / 1000)
    error = abs(total - expected) / expected
    yield judged("machine", f"a sum over {len(devices)} devices, relative error", error, 1e-5)


def check_products(scale: Scale) -> Iterator[Line]:
    """Peak of matrix products in float32 and bfloat16, whether they are right, and whether the clock waits for them."""
    side, devices = scale.product, jax.devices()
    rng = np.random.default_rng(0)
    nominal = peak_flops(devices[:1])
    for name, dtype, precision in (
        ("bfloat16", jnp.bfloat16, "default"),
        ("float32", jnp.float32, "default"),
        ("float32, highest precision", jnp.float32, "highest"),
    ):
        yield from _right(name, dtype, precision)
        left, right = (jnp.asarray(rng.normal(size=(side, side)), dtype) for _ in range(2))

        def chain(times: Any, left: Any, right: Any, precision: str = precision) -> Any:
            one = lambda _, x: jnp.matmul(x, right, precision=precision) * (1 / np.sqrt(side)).astype(x.dtype)
            out = jax.lax.fori_loop(0, times, one, left)
            return out, out[0, 0]

        run = jax.jit(chain)
        few = clock.seconds_of(lambda: run(4, left, right), 5)  # noqa: B023
        many = clock.seconds_of(lambda: run(32, left, right), 5)  # noqa: B023
        rate = 28 * 2 * side**3 / max(many - few, 1e-9)
        share = "" if nominal is None else f"{rate / nominal:.0%} of the nominal peak of bfloat16"
        if nominal is not None:
            yield judged(
                "products", f"{name}, {side} x {side}", rate / 1e12, 1.05 * nominal / 1e12, "TFLOP/s", text=share
            )
        else:
            yield measured("products", f"{name}, {side} x {side}", rate / 1e12, "TFLOP/s")
        if name == "bfloat16":
            # A clock that does not wait sees no difference between 4 and 32 products.
            yield judged("products", "clock: 32 products take longer than 4", many / few, 3, "times", at_least=True)


def _right(name: str, dtype: Any, precision: str) -> Iterator[Line]:
    """The product of random matrices against float64, relative to the size of its entries."""
    rng, side = np.random.default_rng(1), 256
    left, right = (np.asarray(jnp.asarray(rng.normal(size=(side, side)), dtype), np.float64) for _ in range(2))
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision, preferred_element_type=jnp.float32))
    found = np.asarray(product(jnp.asarray(left, dtype), jnp.asarray(right, dtype)), np.float64)
    error = np.abs(found - left @ right).max() / np.sqrt(side)
    # Inputs of bfloat16 are exact here and sums are float32; by default float32 may be multiplied as TF32 or bfloat16.
    bound = {"bfloat16": 1e-5, "float32": 2e-2}.get(name, 1e-5)
    yield judged("products", f"{name}, error against float64", float(error), bound)
