"""The results of an experiment as numbers with intervals, and the sentences that follow from them."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.evaluation.coverage import maj_at_k
from mtjax.experiments.config import Setup
from mtjax.experiments.experiment import START, Experiment
from mtjax.experiments.results import Injected, MinedProblems, Record, Start
from mtjax.reporting.intervals import Interval, difference_interval, mean_interval


class Arms(dict[str, list[Record]]):
    """Records by arm, one per seed, measured on the same problems; the first arm is the start."""

    @property
    def trained(self) -> dict[str, list[Record]]:
        """All arms but the start, and but those that are another decoding of an arm."""
        return {name: own for name, own in self.items() if name != START and not own[0].decoding}

    @property
    def steps(self) -> list[int]:
        """The steps that were measured, 0 first."""
        return [0, *sorted(next(iter(self.trained.values()))[0].curve)]

    def passes(self, name: str, k: int, step: int | None = None) -> Float[np.ndarray, "S N"]:
        """pass@k after some steps, at the end by default; step 0 is the start."""
        return np.stack([record.passes(k, step) for record in self[START if step == 0 else name]])

    def at(self, name: str, k: int, step: int | None = None) -> Interval:
        """Mean pass@k over seeds and problems, with its interval over problems."""
        return mean_interval(self.passes(name, k, step))

    def gain(self, ours: str, theirs: str, k: int) -> Interval:
        """Difference in pass@k at the end on the same problems, with its paired interval over problems."""
        return difference_interval(self.passes(ours, k), self.passes(theirs, k))

    def margin(self, ours: str, theirs: str) -> Interval:
        """Difference in `Record.margins`, with its paired interval over problems."""
        found = [np.stack([np.asarray(record.margins) for record in self[name]]) for name in (ours, theirs)]
        return difference_interval(*found)

    def votes(self, name: str, k: int) -> Float[np.ndarray, "S N"]:
        """maj@k at the end."""
        both = [zip(record.end.answers, record.end.right, strict=True) for record in self[name]]
        return np.array([[maj_at_k(answers, right, k) for answers, right in own] for own in both])


class Outcome(NamedTuple):
    """The results of an experiment; what it does not do is None or empty."""

    begins: list[Start]  # the start model, or that of each seed
    arms: Arms  # measured on test problems
    mined: MinedProblems | None  # solutions that the start model found
    injected: Injected | None  # step pairs made from them
    tuning: dict[str, dict[float, Record]]  # by method and learning rate, measured on validation problems
    rates: dict[str, float]  # learning rate chosen for each method
    small: Arms | None  # arms on the small training set of the demo
    seconds: dict[str, float]  # by stage; stored with the results, so that a resumed run reports them too


MARGIN = "nats, right step less wrong one"


class Claim(NamedTuple):
    """A claim and its measurement."""

    says: str  # the claim, with its source
    measure: str  # the difference that is above 0 if the claim holds
    interval: Interval  # that difference

    @property
    def shown(self) -> str:
        """What the interval says about the claim."""
        return in_words(self.interval, "yes", "the opposite", "no significant difference")


@dataclasses.dataclass(frozen=True)
class Findings:
    """The numbers of one experiment."""

    c: Setup
    e: Experiment
    outcome: Outcome

    def text(self, section: str) -> str:
        """The experiment's own text of a section."""
        return self.e.texts[section](self)

    @property
    def seconds(self) -> str:
        """Seconds by stage, as a list."""
        return "\n".join(f"- {stage}: {spent:.0f} s" for stage, spent in self.outcome.seconds.items())

    @property
    def k(self) -> int:
        """The largest k."""
        return max(self.c.ks)

    @functools.cached_property
    def coverage(self) -> dict[str, dict[int, tuple[Interval, Interval]]]:
        """pass@k and maj@k by arm and k: mean over seeds and problems, interval over problems."""
        arms, ks = self.outcome.arms, self.c.ks
        return {name: {k: (arms.at(name, k), mean_interval(arms.votes(name, k))) for k in ks} for name in arms}

    def gains(self, k: int) -> dict[str, Interval]:
        """pass@k of each method minus that of the baseline; empty without one."""
        arms, baseline = self.outcome.arms, self.e.baseline
        return {name: arms.gain(name, baseline, k) for name in arms if name != START and baseline not in ("", name)}

    @functools.cached_property
    def behind(self) -> tuple[str, Interval, Interval, Interval] | None:
        """The method with prefixes: its name, pass@1 after the correct and the incorrect one, and the difference."""
        for name, records in self.outcome.arms.items():
            if behind := [record.behind_wrong.right.mean(axis=1) for record in records if record.behind_wrong]:
                right, wrong = self.outcome.arms.passes(name, 1), np.stack(behind)
                return name, mean_interval(right), mean_interval(wrong), difference_interval(right, wrong)
        return None

    @property
    def claims(self) -> list[Claim]:
        """The claims about the methods that were run."""
        claims = []
        for says, ours, theirs, k in self.e.claims:
            for arms in (self.outcome.arms, self.outcome.small or Arms()):
                if ours in arms and theirs in arms:
                    gain = arms.margin(ours, theirs) if k == "margin" else arms.gain(ours, theirs, k)
                    measure = MARGIN if k == "margin" else f"pass@{k}"
                    claims.append(Claim(says, f"{measure}: {ours} less {theirs}", gain))
        prefixes = "The model tells the two prefixes apart", "pass@1: correct less incorrect"
        return claims + ([Claim(*prefixes, self.behind[3])] if self.behind else [])

    @property
    def verdict(self) -> str:
        """The result in sentences that follow from the intervals."""
        if not self.e.baseline:
            return coverage_verdict(self.outcome.arms, self.k)
        parts: list[str] = []
        for k in sorted({1, self.k}):
            gains, by = self.gains(k), dict[str, list[str]]()
            for name, gain in gains.items():
                words = in_words(gain, "higher than", "lower than", "not significantly different from")
                by.setdefault(words, []).append(f"{name} ({gain})")
            groups = "; ".join(f"{words} {self.e.baseline}: {', '.join(by[words])}" for words in sorted(by))
            parts.append(
                f"pass@{k}: {len(by.get('higher than', ()))} of {len(gains)} arms are higher than "
                f"{self.e.baseline} training. In detail, {groups}."
            )
        parts += [prefix_text(self.behind[0], self.behind[3])] if self.behind else []
        if self.e.small and self.outcome.small:
            parts.append(f"Small training set: {coverage_verdict(self.outcome.small, max(self.e.small[1].ks))}")
        return "\n\n".join(parts)


def in_words(interval: Interval, above: str, below: str, unclear: str) -> str:
    """One of three phrases, for an interval above 0, below 0, or that includes 0.

    >>> in_words(Interval(0.1, -0.1, 0.3, 0.95), "rose", "fell", "did not change significantly")
    'did not change significantly'
    """
    return above if interval.low > 0 else below if interval.high < 0 else unclear


def prefix_text(name: str, gap: Interval) -> str:
    """The gap between the two prefixes of a method, in words."""
    learned = "learned" if gap.low > 0 else "did not learn"
    return f"{name.capitalize()} {learned} to distinguish its prefixes (pass@1, correct minus incorrect: {gap})."


def coverage_verdict(arms: Arms, k: int) -> str:
    """What became of coverage under cross-entropy, the first method, and DCO, the second."""
    (entropy, dco), moved = arms.trained, ("rose", "fell", "did not change significantly")
    first, last, own = arms.gain(entropy, START, 1), arms.gain(entropy, START, k), arms.gain(dco, START, k)
    ours, single = arms.gain(dco, entropy, k), arms.gain(dco, entropy, 1)
    appeared = first.low > 0 and last.high < 0
    sides = [in_words(x, *(f"{side} {entropy}" for side in ("above", "below", "level with"))) for x in (ours, single)]
    kept = "kept a part of the coverage, not all of it" if own.high < 0 else "kept the coverage"
    kept = kept if ours.low > 0 else "did not keep the coverage"
    return (
        f"Under {entropy} pass@1 {in_words(first, *moved)} ({first}) and pass@{k} {in_words(last, *moved)} ({last}): "
        f"the phenomenon {'appeared' if appeared else 'did not appear'}. "
        f"Under {dco} pass@{k} {in_words(own, *moved)} ({own}). "
        f"DCO ended {sides[0]} at pass@{k} ({ours}) and {sides[1]} at pass@1 ({single})."
        + (f" DCO {kept}." if appeared else "")
    )
