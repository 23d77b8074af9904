"""Claims of the papers, each with the interval that tests it and the result."""

from typing import NamedTuple

from mtjax.experiments.findings import Findings
from mtjax.experiments.tables import clear, gain
from mtjax.reporting.intervals import Interval
from mtjax.reporting.report import Section, Table, section


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
