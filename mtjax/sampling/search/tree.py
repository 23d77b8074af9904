"""Searches over steps as pure functions of what proposes steps and what values them: step-level beam search and PUCT.

Neither knows a model: `propose(paths, turn)` gives possible next steps, `value(paths)` a number from -1 to 1 for each.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Path(NamedTuple):
    """A beginning of a solution."""

    tokens: tuple[int, ...] = ()  # of all its steps
    logprobs: tuple[float, ...] = ()  # of each token
    steps: int = 0  # how many steps it has
    ended: bool = False  # whether the policy has ended it
    prior: float = 1.0  # how likely the policy finds its last step: exp(mean log-probability of its tokens)


Propose = Callable[[Sequence[Path], int], list[list[Path]]]
"""`propose(paths, turn)`: some continuations of each path by one step; the turn is a number for the seed."""
Value = Callable[[Sequence[Path]], list[float]]
"""`value(paths)`: how each is expected to end, from -1 (wrong) to 1 (right)."""


def step_beam(propose: Propose, value: Value, beams: int, depth: int, valid: Callable[[Path], bool]) -> list[Path]:
    """Paths that a beam search over steps finishes, best first by value; if it finishes none, the best unfinished one.

    The root is continued `beams` times, and then each of the beams; the best new paths by value stay. One that ends
    with a valid answer is kept and the beam shrinks by one; one that ends without, or is `depth` steps long, is lost,
    and the beam shrinks too. Equal paths count once.

    Source: Chen et al., "AlphaMath Almost Zero: Process Supervision without Process", NeurIPS 2024 (arXiv 2405.03553),
    algorithm 2.
    """
    alive, done, width, best = [Path()] * beams, list[tuple[float, Path]](), beams, Path()
    for turn in range(depth):
        found = dict.fromkeys(path for paths in propose(alive, turn) for path in paths)
        if not found or width < 1:
            break
        values = dict(zip(found, value(list(found)), strict=True))
        chosen = sorted(found, key=lambda path: -values[path])[:width]  # stable: of equal values the first
        best = chosen[0]
        alive = []
        for path in chosen:
            if path.ended or path.steps >= depth:
                width -= 1
                done += [(values[path], path)] if path.ended and valid(path) else []
            else:
                alive.append(path)
        if not alive:
            break
    return [path for _, path in sorted(done, key=lambda pair: -pair[0])] or [best]


@dataclasses.dataclass
class Node:
    """A node of a search tree."""

    path: Path
    parent: "Node | None" = None
    children: "list[Node]" = dataclasses.field(default_factory=list)
    visits: int = 0
    mean: float = 0.0  # of the values that were backed up through it: Q of the step that leads to it
    closed: bool = False  # whether nothing below it is left to expand

    def back_up(self, value: float) -> None:
        """Count a value in this node and all above it, as running means."""
        node: Node | None = self
        while node is not None:
            node.visits += 1
            node.mean += (value - node.mean) / node.visits
            node = node.parent


def puct(mean: float, prior: float, parent_visits: int, visits: int, weight: float = 1.25) -> float:
    """`Q + c prior sqrt(N_parent) / (1 + N)`.

    >>> puct(0.5, 0.3, 9, 2)
    0.875
    """
    return mean + weight * prior * math.sqrt(parent_visits) / (1 + visits)


def puct_search(
    propose: Propose, value: Value, simulations: int, depth: int, *, weight: float = 1.25,
    reward: Callable[[Path], float | None] | None = None,
) -> Node:  # fmt: skip
    """The root of a tree after so many simulations: select, expand, evaluate, back up.

    A simulation goes down by `puct`, past nodes with nothing left to expand, expands the leaf it comes to and backs up
    the values of the new nodes, one visit each. A path that has ended is worth its `reward`, or its value where that is
    None or not known; one of `depth` steps that has not is worth -1. So the mean of a node is that of all paths that
    were evaluated below it.

    Source: Chen et al., "AlphaMath Almost Zero: Process Supervision without Process", NeurIPS 2024 (arXiv 2405.03553),
    section 3; the released code backs up one new node a simulation, this all of its expansion.
    """
    root = Node(Path())
    for turn in range(simulations):
        node = root
        while node.children:
            live = [child for child in node.children if not child.closed]
            if not live:
                break
            score = {id(c): puct(c.mean, c.path.prior, node.visits, c.visits, weight) for c in live}
            node = max(live, key=lambda child: score[id(child)])
        if root.closed:
            break
        made = list(dict.fromkeys(propose([node.path], turn)[0]))
        values = value(made)
        for path, found in zip(made, values, strict=True):
            child = Node(path, node, closed=path.ended or path.steps >= depth)
            node.children.append(child)
            if path.ended and reward is not None and (graded := reward(path)) is not None:
                found = graded
            child.back_up(found if path.ended or path.steps < depth else -1.0)
        above: Node | None = node
        while above is not None:
            above.closed = all(child.closed for child in above.children)
            above = above.parent if above.closed else None
    return root


def best_path(root: Node) -> Path:
    """The path that is found by going down to the child of the highest mean, among those below which a path ended."""

    def ends(node: Node) -> bool:
        return node.path.ended or any(map(ends, node.children))

    node = root
    while node.children:
        ending = [child for child in node.children if ends(child)]
        node = max(ending or node.children, key=lambda child: child.mean)
    return node.path
