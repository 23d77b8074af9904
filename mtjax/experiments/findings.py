"""The numbers of one comparison, and their description in words."""

import dataclasses
from typing import NamedTuple

import numpy as np

from mtjax.experiments.compare import Outcome
from mtjax.experiments.config import Comparison
from mtjax.experiments.methods import RIGHT_ONLY
from mtjax.experiments.results import Measured
from mtjax.experiments.tables import clear, gain, higher_or_lower, pass_from_counts, passes
from mtjax.reporting import plots
from mtjax.reporting.intervals import Interval, difference_interval
from mtjax.reporting.report import Section, Table, section


@dataclasses.dataclass(frozen=True)
class Findings:
    """The numbers of one comparison: by arm, `start` first, with intervals."""

    c: Comparison
    outcome: Outcome

    @property
    def k(self) -> int:
        """The largest k."""
        return max(self.c.ks)

    @property
    def arms(self) -> dict[str, list[Measured]]:
        """The measurements at the end, by method and seed."""
        own = {name: [record.measured for record in records] for name, records in self.outcome.arms.items()}
        return {name: [measured for measured in runs if measured is not None] for name, runs in own.items()}

    @property
    def measured(self) -> dict[str, list[Measured]]:
        """The same, with the start model first."""
        return {"start": [self.outcome.start]} | self.arms

    def gains(self, k: int) -> dict[str, Interval]:
        """pass@k of each method minus that of right-only training, paired."""
        arms = self.arms
        return {name: gain(runs, arms[RIGHT_ONLY], k) for name, runs in arms.items() if name != RIGHT_ONLY}

    def curve(self, name: str, k: int) -> plots.Curve:
        """pass@k over training; step 0 is the start model with its own prompt."""
        c, records = self.c, self.outcome.arms[name]
        steps = [0, *sorted(records[0].curve)]
        counts = {0: [self.outcome.start.right.sum(axis=1).tolist()]}
        counts |= {step: [record.curve[step] for record in records] for step in steps[1:]}
        means = [float(np.mean([pass_from_counts(own, c.samples, k) for own in counts[step]])) for step in steps]
        return plots.Curve(steps, means)

    @property
    def prefix(self) -> Interval | None:
        """pass@1 after the correct prefix minus that after the incorrect one; None without mistake tuning."""
        records = [record for own in self.outcome.arms.values() for record in own if record.behind_wrong is not None]
        right = [passes(record.measured.right, 1) for record in records if record.measured is not None]
        wrong = [passes(record.behind_wrong.right, 1) for record in records if record.behind_wrong is not None]
        return difference_interval(np.stack(right), np.stack(wrong)) if records else None


def verdict(found: Findings) -> str:
    """Each method compared with right-only training, in words that follow the intervals."""
    parts = []
    for k in sorted({1, found.k}):
        gains = found.gains(k)
        by: dict[str, list[str]] = {}
        for name, interval in gains.items():
            by.setdefault(higher_or_lower(interval), []).append(f"{name} ({interval})")
        groups = "; ".join(f"{words} right only: {', '.join(names)}" for words, names in sorted(by.items()))
        won = sum(clear(x) and x.low > 0 for x in gains.values())
        parts.append(
            f"pass@{k}: {won} of {len(gains)} methods are higher than right-only training. In detail, {groups}."
        )
    return "\n\n".join(parts)


def prefix_text(prefix: Interval | None) -> str:
    """The gap between the two prefixes of mistake tuning, in words."""
    if prefix is None:
        return "Mistake tuning was not among the methods."
    learnt = "learned" if prefix.low > 0 else "did not learn"
    return (
        "The same weights decode after the correct and after the incorrect prefix. The gap in pass@1 shows whether the "
        f"model distinguishes them: it {learnt} to, with a difference of {prefix}."
    )


class Claim(NamedTuple):
    """One claim and its measurement.

    Attributes:
        says: the claim, with its source.
        measure: the difference that is above 0 if the claim holds.
        interval: that difference.
    """

    says: str
    measure: str
    interval: Interval

    @property
    def shown(self) -> str:
        """ "yes" if the interval is above 0, "the opposite" if below, "no significant difference" if it includes 0."""
        return (
            ("yes" if self.interval.low > 0 else "the opposite")
            if clear(self.interval)
            else "no significant difference"
        )


def claims_of(found: Findings) -> list[Claim]:
    """The claims about the methods that were run."""
    runs, k = found.measured, found.k
    wanted = [
        ("Own right solutions help (rejection sampling)", "right only", "start", 1),
        ("Mistake tuning beats right solutions alone (Tong et al. 2024)", "mistake tuning", "right only", 1),
        ("The prefix is what makes wrong solutions usable (the same)", "mistake tuning", "no prefix", 1),
        ("DPO on whole solutions with cross-entropy improves the start (ablation of RISE)", "DPO + NLL", "start", 1),
        ("Pairs beat right solutions alone", "DPO + NLL", "right only", 1),
        ("Steps with injected errors add to that (RISE, Xu et al. 2025)", "RISE", "DPO + NLL", 1),
        (f"DCO has more coverage at {k} samples (Chen et al. 2025)", "DCO", "right only", k),
        ("and pays for it at one sample (the same)", "right only", "DCO", 1),
        ("Unlikelihood of wrong solutions beats right ones alone (nobody's claim)", "unlikelihood", "right only", 1),
    ]
    claims = [
        Claim(says, f"pass@{n}: {ours} less {theirs}", gain(runs[ours], runs[theirs], n))
        for says, ours, theirs, n in wanted
        if ours in runs and theirs in runs
    ]
    if found.prefix is not None:
        claims.append(Claim("The model tells the two prefixes apart", "pass@1: correct less incorrect", found.prefix))
    return claims


def claims_section(found: Findings) -> Section:
    """The claims as a table."""
    rows = [(claim.says, claim.measure, claim.interval, claim.shown) for claim in claims_of(found)]
    text = (
        "Each claim is tested by a difference that is above 0 if the claim holds, at this size, on this task and with "
        "this budget. The papers used models that are ten thousand times as large."
    )
    return section("What was and was not reproduced", text, Table(("claim", "difference", "measured", "shown"), rows))
