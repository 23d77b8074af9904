"""Look-ahead search over tokens as a pure function of what proposes tokens, continues texts and judges them."""

from collections.abc import Callable, Sequence

from mtjax.sampling.search.tree import Path

Next = Callable[[Sequence[Path]], list[list[tuple[int, float]]]]
"""`next_tokens(paths)`: the most likely next tokens of each path and their log-probabilities."""
Heuristic = Callable[[Sequence[Path]], list[float]]
"""`heuristic(paths)`: how well each path would do, judged by where a continuation of it leads."""


def lookahead_search(
    next_tokens: Next, heuristic: Heuristic, ends: Callable[[tuple[int, ...]], bool], *, beams: int, weight: float,
    longest: int,
) -> list[Path]:  # fmt: skip
    """Up to `beams` paths, those that have ended first, each best first by its score.

    Formula: every beam is continued by each of its most likely next tokens; the `beams` best of all by
    `c = log P(y_1..t) + weight h` go on, where h is the heuristic of the path with its token. A path whose tokens end
    an answer (`ends`) leaves the beam with its score. The search stops when `beams` paths have ended, or after
    `longest` tokens.

    With weight 0 and one beam it decodes greedily. The heuristic is asked for all new paths of a token at once.

    Source: Huang et al., "DeAL: Decoding-time Alignment for Large Language Models", 2024 (arXiv 2402.06147),
    section 3.
    """
    alive, done = [(0.0, Path())], list[tuple[float, Path]]()
    for _ in range(longest):
        made = [
            Path((*path.tokens, token), (*path.logprobs, logprob), path.steps + 1, ends((*path.tokens, token)))
            for (_, path), found in zip(alive, next_tokens([path for _, path in alive]), strict=True)
            for token, logprob in found
        ]
        scores = [sum(path.logprobs) + weight * h for path, h in zip(made, heuristic(made), strict=True)]
        best = sorted(zip(scores, made, strict=True), key=lambda one: -one[0])[: beams - len(done)]  # stable
        done += [one for one in best if one[1].ended]
        alive = [one for one in best if not one[1].ended]
        if not alive:
            break
    ordered = [path for group in (done, alive) for _, path in sorted(group, key=lambda one: -one[0])]
    return ordered[:beams]
