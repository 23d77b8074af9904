"""The report of a plan: what was asked, what came out, as one tuple that goes to JSON and to Markdown."""

import dataclasses
from typing import Any

from mtjax.errors import ExitCode
from mtjax.planning.bounds import Bound
from mtjax.planning.collectives import Row
from mtjax.planning.lint import EXPECTED, Finding
from mtjax.planning.memory import Memory


@dataclasses.dataclass(frozen=True)
class Report:
    """One planned program.

    What a compiler without the hardware cannot know (real step time, achieved bandwidth, kernels picked by
    measurement) is not here.
    """

    config: str
    """The config file and its overrides."""
    phase: str
    """train, prefill or decode."""
    topology: str
    """As the user said it."""
    hardware: str
    """The devices, in words, and where their figures are from."""
    level: str
    """fast or full."""
    versions: str
    """Of jax and the compiler."""
    mesh: dict[str, int]
    """Size of each axis."""
    wiring: dict[str, str]
    """For each axis larger than 1: the sides of the torus, or the part of the node, that it runs along."""
    model: str
    """Its shape, in words."""
    parameters: int
    """How many."""
    batch: str
    """What one call works on, in words."""
    tokens: int
    """Positions that one call computes."""
    memory: Memory
    """On one device."""
    flops: int
    """Of all devices, one call; counted."""
    useful_flops: float
    """The same without recomputation."""
    collectives: tuple[Row, ...]
    """The table; empty where the program did not fit."""
    bound: Bound | None
    """The roofline; None where the program did not fit."""
    compiler_seconds: float | None
    """The compiler's own bound; only at level full, and where there is a clock."""
    findings: tuple[Finding, ...]
    """Lint."""
    advice: str = ""
    """Where it does not fit: the nearest change that does."""
    seconds: float = 0.0
    """CPU time the plan took."""

    def exit_code(self, lint_limit: int) -> ExitCode:
        """3 when it does not fit, 4 with more findings than the limit (expected ones not counted), else 0."""
        if not self.memory.fits:
            return ExitCode.DOES_NOT_FIT
        return ExitCode.LINT if len(self.counted) > lint_limit else ExitCode.DONE

    @property
    def counted(self) -> tuple[Finding, ...]:
        """The findings that should not be there."""
        return tuple(one for one in self.findings if one.rule not in EXPECTED)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists; the named tuples inside become dicts."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


def from_json(record: dict[str, Any]) -> Report:
    """The report that `to_json` wrote."""
    memory = Memory(**record["memory"] | {"largest": tuple(map(tuple, record["memory"]["largest"]))})
    return Report(
        **record
        | {
            "memory": memory,
            "collectives": tuple(Row(**row) for row in record["collectives"]),
            "bound": Bound(**record["bound"]) if record["bound"] else None,
            "findings": tuple(Finding(**finding) for finding in record["findings"]),
        }
    )


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value
