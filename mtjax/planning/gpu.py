"""What the compiler wants to know of a GPU that is not here.

Figures are those that OpenXLA publishes for these cards (`xla/backends/gpu/target_config/specs`), shortened to what
compiling needs. None was read from a card by us.
"""

_TEXT = """gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536 shared_memory_per_block: 49152
  shared_memory_per_core: {shared_core} shared_memory_per_block_optin: {shared_block}
  core_count: {cores} fpus_per_core: {fpus} clock_rate_ghz: {clock} l2_cache_size: {cache}
  memory_bandwidth: {bandwidth} device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} minor: 0 }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 12 minor: 8 patch: 0 }}
device_description_str: "{name}"
"""

_HOPPER = {"shared_core": 233472, "shared_block": 232448, "cores": 132, "fpus": 128, "clock": 1.98}
_HOPPER |= {"cache": 52428800, "major": 9}

H100 = _TEXT.format(name="NVIDIA H100 80GB HBM3", bandwidth=3352320000000, memory=84942979072, **_HOPPER)
"""H100 SXM, 80 GB."""

H200 = _TEXT.format(name="NVIDIA H200 141GB HBM3e", bandwidth=4800000000000, memory=151397597184, **_HOPPER)
"""H200 SXM, 141 GB."""

A100 = _TEXT.format(
    name="NVIDIA A100-SXM4-80GB",
    bandwidth=2039040000000,
    memory=85100068864,
    shared_core=167936,
    shared_block=166912,
    cores=108,
    fpus=64,
    clock=1.41,
    cache=41943040,
    major=8,
)
"""A100 SXM, 80 GB."""
