"""Which LoRA of a bank suit a task that has K examples: by perplexity, accuracy, and how different they are."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float


class Selected(NamedTuple):
    """What was found; numbers are places in the bank."""

    chosen: tuple[int, ...]  # the experts, in the order of the bank
    by_perplexity: list[int]  # rank of each LoRA, from 1, the smallest perplexity first
    by_accuracy: list[int]  # rank of each, the largest accuracy first
    kept: tuple[int, ...]  # those that subsets were made of, the best first
    diversity: float  # Omega of the chosen ones


def perplexity(
    nats: Float[np.ndarray, " K"], tokens: Float[np.ndarray, " K"], variant: Literal["paper", "code"]
) -> float:
    """Logarithm of the sum of perplexities of K answers; "paper": `exp(nats)`, "code": `exp(nats / tokens)`.

    In logarithms, since the perplexity of a complete answer overflows; the order is the same.
    """
    each = np.asarray(nats, np.float64) / (np.asarray(tokens) if variant == "code" else 1)
    return float(np.logaddexp.reduce(each))


def ranks(values: Sequence[float]) -> list[int]:
    """The rank of each value, from 1, the smallest first; the earlier of equal ones first.

    >>> ranks([0.3, 0.1, 0.2])
    [3, 1, 2]
    """
    order = np.argsort(np.asarray(values), kind="stable")
    out = np.empty(len(order), int)
    out[order] = np.arange(1, len(order) + 1)
    return [int(rank) for rank in out]


def similarity(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Mean cosine of the products `B A` of two LoRA, matrix by matrix and layer by layer.

    The leaves are those of the part "adapter" of two models of one base and equal ranks. A product is never made:
    `<B A, B' A'> = <A A'^T, B^T B'>`. A LoRA that is still 0 is like no other.
    """
    is_map = lambda node: isinstance(node, Mapping) and set(node) >= {"a", "b"}
    pairs = zip(*(jax.tree.leaves(tree, is_leaf=is_map) for tree in (one, other)), strict=True)
    found = []
    for mine, theirs in pairs:
        layers = np.asarray(mine["a"]).shape[0]
        a, b = (_flat(mine, layers), _flat(theirs, layers))
        inner = lambda x, y: float(np.sum((x[0].T @ y[0]) * (x[1] @ y[1].T)))
        for x, y in zip(a, b, strict=True):
            size = np.sqrt(inner(x, x) * inner(y, y))
            found.append(inner(x, y) / size if size > 0 else 0.0)
    return float(np.mean(found))


def _flat(leaves: Mapping[str, Any], layers: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """A `[inputs, rank]` and B `[rank, outputs]` of each layer, in float64."""
    a, b = (np.asarray(leaves[name], np.float64) for name in "ab")
    rank = a.shape[-1]
    return list(zip(a.reshape(layers, -1, rank), b.reshape(layers, rank, -1), strict=True))


def omega(cosines: Float[np.ndarray, "M M"], subset: Sequence[int]) -> float:
    """Diversity of a subset: `1 / mean of the cosines of its pairs`; infinite where that mean is not above 0.

    >>> round(omega(np.array([[1, 0.8], [0.8, 1]]), (0, 1)), 2)
    1.25
    """
    mean = np.mean([cosines[i, j] for i, j in itertools.combinations(subset, 2)]) if len(subset) > 1 else 1.0
    return float(1 / mean) if mean > 0 else float("inf")


def select(
    perplexities: Sequence[float], accuracies: Sequence[float], cosines: Float[np.ndarray, "M M"], most: int, count: int
) -> Selected:
    """The `count` LoRA to mix, of the `most` that are best alone.

    Formula: R_P is the rank by rising perplexity, R_A that by falling accuracy. Of the `most` LoRA with the smallest
    `R_P + R_A`, every subset of `count` has the rank R_D by falling Omega; the one with the smallest
    `sum_i (R_P + R_A) + R_D` is chosen. Subsets are ranked by the rising mean of their cosines, which is the same order
    and holds where it is not above 0.

    Source: Yang et al., "Leveraging Open Knowledge for Advancing Task Expertise in Large Language Models", 2024 (arXiv
    2408.15915), with the code `Yaphabates/Rocket`.
    """
    by_perplexity, by_accuracy = ranks(perplexities), ranks([-value for value in accuracies])
    both = [one + other for one, other in zip(by_perplexity, by_accuracy, strict=True)]
    kept = sorted(range(len(both)), key=lambda number: (both[number], number))[:most]
    subsets = list(itertools.combinations(sorted(kept), min(count, len(kept))))
    means = [np.mean([cosines[i, j] for i, j in itertools.combinations(one, 2)] or [0.0]) for one in subsets]
    by_diversity = ranks([float(mean) for mean in means])
    total = [sum(both[i] for i in one) + rank for one, rank in zip(subsets, by_diversity, strict=True)]
    chosen = subsets[int(np.argmin(total))]
    return Selected(chosen, by_perplexity, by_accuracy, tuple(kept), omega(cosines, chosen))
