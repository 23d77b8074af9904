"""Check that mtjax is right on this machine's devices, and measure how fast it is.

The checks run in order of value and stop in time: devices and links, matrix products, attention kernels, loss and
gradient against float64, chunks of logits, all devices against one, a save and a resume, sampling; then the speed of
steps and of sampling, and memory. Every line passes or fails with its number; a check that was skipped or is not
possible here counts as neither. See docs/hardware.md.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from annotated_types import Gt

from mtjax.distributed.hosts import check_one_host
from mtjax.errors import InputError
from mtjax.io.command_line import command, output_file, split_options


@dataclasses.dataclass(frozen=True)
class CheckConfig:
    """Options of `python -m mtjax.check_hardware`."""

    minutes: Annotated[float, Gt(0)] = 10.0  # It stops after so many, and writes what it has.
    json: str | None = None  # Write the report to this file too; it is complete after every line.
    size: Literal["auto", "small", "full"] = (
        "auto"  # full on an accelerator; small shows on a CPU that the checks work.
    )
    only: tuple[str, ...] = ()  # Checks to run, by name; none means all.


@command("[options]", options=CheckConfig, before=check_one_host, needs_words=False)
def main(words: list[str]) -> int:
    """The command; returns the exit code: 0, 2 bad input, 8 a check failed, 9 one was skipped for want of time."""
    wanted, rest = split_options(CheckConfig, words, "python -m mtjax.check_hardware")
    if rest:
        raise InputError(f"{' '.join(rest)}: expected options alone, such as --minutes=10; see --help")
    file = output_file("--json", wanted.json)
    import jax

    from mtjax.hardware import attention, losses, machine, report, scale, speed, training

    on_cpu = jax.default_backend() == "cpu"
    is_small = wanted.size == "small" or (wanted.size == "auto" and on_cpu)
    size = scale.small() if is_small else scale.full()
    checks: dict[str, Callable[[], Iterator[report.Line]]] = {
        "machine": functools.partial(machine.check_machine, size),
        "products": functools.partial(machine.check_products, size),
        "attention": functools.partial(attention.check_attention, size),
        "losses": losses.check_losses,
        "chunks": losses.check_chunks,
        "parity": training.check_parity,
        "resume": functools.partial(training.check_resume, size),
        "sampling": functools.partial(training.check_sampling, size),
        "speed": functools.partial(speed.check_speed, size),
        "drawing": functools.partial(speed.check_sampling_speed, size),
    }
    unknown = [name for name in wanted.only if name not in checks]
    if unknown:
        raise InputError(f"--only={unknown[0]}: expected names of {', '.join(checks)}")
    about = {
        "date": report.today(),
        "command": " ".join(["python -m mtjax.check_hardware", *words]),
        "size": "small" if is_small else "full",
        **machine.about(),
    }
    print(f"{about['devices']} ({about['platform']}), jax {jax.__version__}, {about['size']} size, {about['date']}")
    chosen = [(name, check) for name, check in checks.items() if not wanted.only or name in wanted.only]
    if wanted.only:
        about["left out"] = [name for name in checks if name not in wanted.only]
    return int(report.Report(wanted.minutes * 60, file, about).run(chosen))


if __name__ == "__main__":
    sys.exit(main())
