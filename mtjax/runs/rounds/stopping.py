"""Why a run of rounds ends before its last round, and the alarm of coverage."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtjax.runs.rounds.config import Rounds

ALARM = 0.05
"""A pass@k that is lower than at the start by more than this is reported, whatever the settings say."""

Line = Mapping[str, Any]
"""What `rounds.jsonl` says of a round."""


def coverage_fall(config: Rounds, lines: Sequence[Line]) -> float | None:
    """How much lower pass@k is than at the start, for the largest k; None without two measurements."""
    if config.measure is None:
        return None
    name = f"pass@{config.measure.all_ks[-1]}"
    found = [line["measured"][name] for line in lines if name in line.get("measured", {})]
    return found[0] - found[-1] if len(found) > 1 else None


def alarm(config: Rounds, lines: Sequence[Line]) -> str:
    """A warning where coverage has fallen; "" where it has not."""
    fall = coverage_fall(config, lines)
    if fall is None or fall <= ALARM or config.measure is None:
        return ""
    k = config.measure.all_ks[-1]
    return (
        f"pass@{k} is {fall:.3f} lower than at the start: the policy solves fewer problems in {k} samples, though it "
        "may solve more in one; more samples, fewer updates, a KL to the reference, or pass@k advantages keep coverage"
    )


def reason_to_stop(config: Rounds, lines: Sequence[Line]) -> str:
    """Why the run ends after the last of these lines; "" where it goes on."""
    stop, last = config.stop, lines[-1]
    if not last["round"]:
        return ""
    if stop.tokens is not None and last["total_tokens"] >= stop.tokens:
        return f"{last['total_tokens']:,} tokens have been sampled and trained (stop.tokens={stop.tokens:,})"
    if stop.mixed and not last["mixed"]:
        return "no problem of the round has both a right and a wrong sample (stop.mixed)"
    fall = coverage_fall(config, lines)
    if stop.coverage_drop is not None and fall is not None and fall > stop.coverage_drop:
        return f"coverage is {fall:.3f} lower than at the start (stop.coverage_drop={stop.coverage_drop:g})"
    measured = [line["measured"]["pass@1"] for line in lines if line.get("measured")]
    if stop.patience is not None and "measured" in last and len(measured) > stop.patience:
        before, since = measured[: -stop.patience], measured[-stop.patience :]
        if max(since) <= max(before) + stop.least_rise:
            return f"held-out pass@1 has not risen for {stop.patience} measurements (stop.patience)"
    return ""


def best_round(lines: Sequence[Line]) -> int | None:
    """The round with the highest held-out pass@1, the first of equal ones; None without a measurement."""
    found = {line["round"]: line["measured"]["pass@1"] for line in lines if line.get("measured")}
    return max(found, key=lambda number: (found[number], -number)) if found else None
