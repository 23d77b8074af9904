"""A compiled program's text as computations and instructions, with how often each computation runs."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

BYTES = {"pred": 1, "c64": 8, "c128": 16}
_BITS = re.compile(r"[a-z]+(\d+)")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\b(?:branch_computations|called_computations)=\{([^}]*)\}")
FOLLOWED = {"fusion", "call", "call-start", "async-start", "conditional", "custom-call", "while"}
"""Operations whose computations run; a reduction's `to_apply` is no program of its own."""


class Instruction(NamedTuple):
    """One line of a computation.

    Attributes:
        name, operation: such as `all-gather.3` and `all-gather`.
        type: text of the result's type, e.g. `bf16[32,128]{1,0}` or `(f32[], f32[4]{0})`.
        arguments: what stands in its parentheses: what it reads, or a constant's value.
        rest: everything behind the operands, such as `channel_id=3, metadata={...}`.
    """

    name: str
    operation: str
    type: str
    arguments: str
    rest: str

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of what it reads."""
        return tuple(re.findall(r"%([\w.\-]+)", self.arguments))

    @property
    def op_name(self) -> str:
        """Where it comes from in the JAX program, such as `jit(step)/jvp(Decoder)/while/body/...`; "" if unknown."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def calls(self) -> dict[str, str]:
        """Computations it names, by the role they have: calls, to_apply, body, condition, branch0, ..."""
        found = dict(_CALLED.findall(self.rest))
        branches = _BRANCHES.search(self.rest)
        named = [name.strip().lstrip("%") for name in branches[1].split(",")] if branches else []
        return found | {f"branch{number}": name for number, name in enumerate(named) if name}


class Program(NamedTuple):
    """A compiled program.

    Attributes:
        entry: name of the computation that runs first.
        computations: instructions by computation.
        runs: how often each computation runs in one call of the program; those that never do are not there.
        loops: for each computation that runs, the `op_name`s of the loops around it, outermost first.
    """

    entry: str
    computations: Mapping[str, list[Instruction]]
    runs: Mapping[str, int]
    loops: Mapping[str, tuple[str, ...]]

    def running(self) -> Iterator[tuple[str, Instruction]]:
        """Every instruction that runs, with its computation."""
        for computation in self.runs:
            for instruction in self.computations[computation]:
                yield computation, instruction


def array_bytes(type: str) -> list[int]:
    """Bytes of each array in the text of a type, layouts and comments aside.

    >>> array_bytes("(bf16[4,2]{1,0:T(8,128)(2,1)}, /*index=1*/f32[])")
    [16, 4]
    """
    out = []
    for kind, dimensions in _ARRAY.findall(re.sub(r"\{[^{}]*\}|/\*.*?\*/", "", type)):
        count = 1
        for side in dimensions.split(","):
            count *= int(side) if side else 1
        bits = _BITS.match(kind)
        out.append(-(-count * int(bits[1]) // 8) if bits and kind not in BYTES else count * BYTES.get(kind, 1))
    return out


def read_program(text: str) -> Program:
    """Read what `compiled.as_text()` gives. A computation ends where a line is just `}`: attributes may have lines."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", ""
    pending: list[str] = []

    def finish() -> None:
        if pending and current:
            computations[current].append(_instruction("\n".join(pending)))
        pending.clear()

    for line in text.splitlines():
        if not current:
            head = re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line)
            if head and " -> " in line:
                current = head[2]
                computations[current] = []
                entry = current if head[1] else entry
        elif line == "}":
            finish()
            current = ""
        elif re.match(r"  (ROOT )?%?[\w.\-]+ = ", line):
            finish()
            pending.append(line)
        elif pending:
            pending.append(line)
    runs, loops = _walk(entry, computations)
    return Program(entry, computations, runs, loops)


def _instruction(text: str) -> Instruction:
    head = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = ", text)
    assert head, text[:200]
    at = head.end()
    end = _closing(text, at) + 1 if text[at] == "(" else at
    end = text.index(" ", end)  # behind a tuple's parenthesis, or behind an array's type and layout
    type, opened = text[at:end], text.index("(", end)
    closed = _closing(text, opened)
    return Instruction(head[1], text[end:opened].strip(), type, text[opened + 1 : closed], text[closed + 1 :])


def _closing(text: str, start: int) -> int:
    """The parenthesis that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return len(text) - 1


def trips(loop: Instruction, computations: Mapping[str, list[Instruction]]) -> int:
    """How often a `while` runs: as annotated (GPU), or else the constant that its condition compares with (TPU).

    1 where neither is found: a loop whose end depends on data.
    """
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    if known:
        return int(known[1])
    condition = computations.get(loop.calls.get("condition", ""), [])
    inside = [one for fusion in condition for name in fusion.calls.values() for one in computations.get(name, [])]
    constants = (one for one in (*condition, *inside) if one.operation == "constant")
    numbers = [int(one.arguments) for one in constants if re.match(r"[su]32\[\]", one.type)]
    return max(numbers, default=1)


def _walk(
    entry: str, computations: Mapping[str, list[Instruction]]
) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """From the entry down: how often each computation runs, and inside which loops."""
    runs: dict[str, int] = {}
    loops: dict[str, tuple[str, ...]] = {}

    def visit(name: str, times: int, inside: tuple[str, ...]) -> None:
        if name not in computations:
            return
        runs[name] = runs.get(name, 0) + times
        loops[name] = max(inside, loops.get(name, ()), key=len)
        for instruction in computations[name]:
            if instruction.operation not in FOLLOWED:
                continue
            calls = instruction.calls
            if instruction.operation == "while":
                count = times * trips(instruction, computations)
                visit(calls.get("body", ""), count, (*inside, instruction.op_name))
                continue
            for called in calls.values():
                visit(called, times, inside)

    visit(entry, 1, ())
    return runs, loops
