"""A compiled program's text as computations and instructions, with how often each computation runs."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

FOLLOWED = {"fusion", "call", "call-start", "async-start", "conditional", "custom-call", "while"}
"""Operations whose computations run; a reduction's `to_apply` is not a program of its own."""


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str  # such as `all-gather.3`
    operation: str  # such as `all-gather`
    type: str  # text of the result's type, such as `bf16[32,128]{1,0}` or `(f32[], f32[4]{0})`
    arguments: str  # the text in its parentheses: the operands, or the value of a constant
    rest: str  # everything after the operands, such as `channel_id=3, metadata={...}`

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of its operands."""
        return tuple(re.findall(r"%([\w.\-]+)", self.arguments))

    @property
    def op_name(self) -> str:
        """Where it comes from in the JAX program, such as `jit(step)/jvp(Decoder)/while/body/...`; "" if unknown."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def calls(self) -> dict[str, str]:
        """Computations that it names, by their role: calls, to_apply, body, condition, branch0, ..."""
        found = dict(re.findall(r"\b(calls|to_apply|body|condition)=%?([\w.\-]+)", self.rest))
        branches = re.search(r"\b(?:branch_computations|called_computations)=\{([^}]*)\}", self.rest)
        named = [name.strip().lstrip("%") for name in branches[1].split(",")] if branches else []
        return found | {f"branch{number}": name for number, name in enumerate(named) if name}


Computations = Mapping[str, list[Instruction]]


class Program(NamedTuple):
    """A compiled program. A computation that never runs is in `computations` only."""

    entry: str  # name of the computation that runs first
    computations: Computations  # instructions by computation
    runs: Mapping[str, int]  # how often each computation runs in one call of the program
    loops: Mapping[str, tuple[str, ...]]  # for each, the `op_name`s of the loops around it, outermost first

    def running(self) -> Iterator[tuple[str, Instruction]]:
        """Every instruction that runs, with its computation."""
        return ((name, instruction) for name in self.runs for instruction in self.computations[name])


def array_bytes(type: str) -> list[int]:
    """Bytes of each array in the text of a type, without layouts and comments.

    >>> array_bytes("(bf16[4,2]{1,0:T(8,128)(2,1)}, /*index=1*/f32[])")
    [16, 4]
    """
    out = []
    bare = re.sub(r"\{[^{}]*\}|/\*.*?\*/", "", type)
    for kind, dimensions in re.findall(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]", bare):
        bits = re.search(r"\d+", kind)
        count = math.prod(int(side) for side in dimensions.split(",") if side)
        out.append(-(-count * (int(bits[0]) if bits else 8) // 8))
    return out


def read_program(text: str) -> Program:
    """Parse `compiled.as_text()`. A computation ends at a line that is just `}`, because attributes may span lines."""
    computations, entry = {}, ""
    for head, name, body in re.findall(r"^(ENTRY )?%?([\w.\-]+) [^\n]* -> [^\n]*\{\n(.*?)^\}$", text, re.M | re.S):
        lines = re.split(r"^  (?=(?:ROOT )?%?[\w.\-]+ = )", body, flags=re.M)[1:]
        computations[name] = [_instruction(line) for line in lines]
        entry = name if head else entry
    return Program(entry, computations, *_walk(entry, computations))


def _instruction(text: str) -> Instruction:
    head = re.match(r"(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\(", text)
    assert head, text[:200]
    depths = itertools.accumulate({"(": 1, ")": -1}.get(letter, 0) for letter in text[head.end() :])
    closed = head.end() + next(at for at, depth in enumerate(depths) if depth < 0)
    return Instruction(head[1], head[3], head[2], text[head.end() : closed], text[closed + 1 :])


def trips(loop: Instruction, computations: Computations) -> int:
    """How often a `while` runs: as annotated (GPU), or else the constant that its condition compares with (TPU).

    1 where neither is found: a loop whose end depends on data.
    """
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest):
        return int(known[1])
    condition = computations.get(loop.calls.get("condition", ""), [])
    inside = [one for fusion in condition for name in fusion.calls.values() for one in computations.get(name, [])]
    constants = (one for one in (*condition, *inside) if one.operation == "constant")
    return max((int(one.arguments) for one in constants if re.match(r"[su]32\[\]", one.type)), default=1)


def _walk(entry: str, computations: Computations) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """From the entry down: how often each computation runs, and inside which loops."""
    runs: dict[str, int] = {}
    loops: dict[str, tuple[str, ...]] = {}

    def visit(name: str, times: int, inside: tuple[str, ...]) -> None:
        if name not in computations:
            return
        runs[name] = runs.get(name, 0) + times
        loops[name] = max(inside, loops.get(name, ()), key=len)
        for instruction in computations[name]:
            if instruction.operation == "while":
                count = times * trips(instruction, computations)
                visit(instruction.calls.get("body", ""), count, (*inside, instruction.op_name))
            elif instruction.operation in FOLLOWED:
                for called in instruction.calls.values():
                    visit(called, times, inside)

    visit(entry, 1, ())
    return runs, loops
