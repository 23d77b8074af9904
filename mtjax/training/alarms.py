"""Alarms: failures of a run that its metrics show and its loss curve hides.

They depend on logged lines only, so a resumed run, whose log was cut back, raises the same alarms as one that was never
stopped.
"""

import json
import math
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

SHORTEST = 10  # logged lines in the shortest window
SURE = 4.0  # by how many standard errors the means of two windows must differ: a run looks thousands of times
# The first of these that is logged shows that chosen texts become less likely, if it falls by at least so much. The
# reward `beta (log pi - log pi_ref)` comes first: the reference cancels the lengths of the texts of a batch.
FALLS = {"reward_chosen": 0.1, "logprob_chosen": 1.0}
LEAST_RISE = 0.1  # smallest rise of `reward_margin` that counts
SURE_OF_BOTH = 2.5  # by how many standard errors pass@1 must rise and pass@k fall

Line = Mapping[str, float | int]  # the metrics of a step by name


class Sums:
    """Running sums of a series, for the mean and its error over any stretch at once."""

    def __init__(self) -> None:
        self.sums, self.squares = [0.0], [0.0]

    def add(self, value: float) -> None:
        """Append a value."""
        self.sums.append(self.sums[-1] + value)
        self.squares.append(self.squares[-1] + value * value)

    def mean(self, last: int, skip: int = 0) -> tuple[float, float]:
        """Mean of the `last` values before the newest `skip`, and the square of its standard error."""
        end = len(self.sums) - 1 - skip
        mean = (self.sums[end] - self.sums[end - last]) / last
        spread = (self.squares[end] - self.squares[end - last]) / last - mean * mean
        return mean, max(spread, 0.0) / (last - 1)


class Displacement:
    """Chosen texts become less likely while the margin over the rejected ones rises: both sides fall.

    Compares the mean of the last w logged lines with that of the w lines before, for w = 10, 20, 40, ... up to half the
    run. Both changes must be beyond noise (`SURE`) and large enough to matter (`FALLS`, `LEAST_RISE`); half of that is
    enough to stay on. It ends when ten lines in a row show nothing, and starts again from there.
    """

    name = "displacement"

    def __init__(self) -> None:
        self.chosen, self.margin, self.lines = Sums(), Sums(), 0
        self.on, self.quiet = False, 0

    def see(self, values: Line) -> tuple[bool, str] | None:
        """Whether the alarm is on after this line, and why; None for a line without the metrics it needs."""
        of = next((name for name in FALLS if name in values), None)
        pair = (values.get(of or "", math.nan), values.get("reward_margin", math.nan))
        if of is None or not all(map(math.isfinite, pair)):
            return None
        self.chosen.add(pair[0])
        self.margin.add(pair[1])
        self.lines += 1
        spans = [SHORTEST << power for power in range(64) if SHORTEST << power <= self.lines // 2]
        said = next((found for span in spans if (found := self._compare(span, of))), "")
        self.quiet = 0 if said else self.quiet + 1
        if self.on and self.quiet >= SHORTEST:
            self.lines = 0
        self.on = bool(said) or (self.on and self.quiet < SHORTEST)
        return self.on, said

    def _compare(self, span: int, of: str) -> str:
        """Why the last `span` lines, beside those before, raise the alarm; "" if they do not."""
        (now, error), (before, error_before) = self.chosen.mean(span), self.chosen.mean(span, span)
        (margin, noise), (margin_before, noise_before) = self.margin.mean(span), self.margin.mean(span, span)
        share = 0.5 if self.on else 1.0
        falls = before - now > share * max(FALLS[of], SURE * math.sqrt(error + error_before))
        rises = margin - margin_before > share * max(LEAST_RISE, SURE * math.sqrt(noise + noise_before))
        if not (falls and rises):
            return ""
        return (
            f"chosen texts become less likely ({of} {before:.3g} -> {now:.3g}) while the margin over the rejected "
            f"rises ({margin_before:.3g} -> {margin:.3g}), means of {span} logged steps each; cross-entropy on the "
            "chosen text, a lower learning rate or a higher beta hold them"
        )


class CoverageLoss:
    """pass@1 rises while pass@k, for the largest k that is measured, falls: answers become surer and less varied.

    Compares a measurement with the earlier one at which pass@k was highest, by their sampling errors. The highest of m
    measurements is some `sqrt(2 log m)` errors too high, so pass@k must fall by as much more.
    """

    name = "coverage"

    def __init__(self) -> None:
        self.best: tuple[Any, ...] | None = None
        self.seen, self.on = 0, False

    def see(self, values: Line) -> tuple[bool, str] | None:
        """Whether the alarm is on at this measurement, and why; None for a line without one."""
        ks = [int(found[1]) for found in (re.fullmatch(r"coverage/pass@(\d+)", name) for name in values) if found]
        if 1 not in ks or max(ks) == 1:
            return None
        k = max(ks)
        names = [f"coverage/pass@{n}{end}" for n in (1, k) for end in ("", "_error")]
        one, one_error, many, many_error = (values.get(name, 0.0) for name in names)
        said = ""
        if self.best is not None:
            step, one_then, one_then_error, many_then, many_then_error = self.best
            sure = SURE_OF_BOTH / (2 if self.on else 1)  # what is on goes off later, or it would flicker
            chance = math.sqrt(2 * math.log(self.seen)) * many_then_error
            rises = one - one_then > sure * math.hypot(one_error, one_then_error)
            falls = many_then - many > sure * math.hypot(many_error, many_then_error) + chance
            if rises and falls:
                said = (
                    f"pass@1 rises and pass@{k} falls: {one_then:.3f} -> {one:.3f} and {many_then:.3f} -> {many:.3f} "
                    f"since step {step:.0f}; if many samples will be drawn, stop there or train with objective:dco"
                )
        self.seen += 1
        if self.best is None or many > self.best[3]:
            self.best = (values["step"], one, one_error, many, many_error)
        self.on = bool(said)
        return self.on, said


class Alarms:
    """All alarms of a run.

    `lines` are those that are in the log already (`read_log`); alarms that were on then are not reported again.
    """

    def __init__(self, lines: Iterable[Line] = ()):
        self.watching = (Displacement(), CoverageLoss())
        self.on: dict[str, bool] = {}
        for line in lines:
            self.see(int(line["step"]), line)

    def see(self, step: int, values: Line) -> tuple[dict[str, float], list[str]]:
        """`alarm/<name>` to log with a line (1 while on), and a sentence for each alarm that came on with it."""
        metrics, told = {}, []
        for alarm in self.watching:
            found = alarm.see({**values, "step": step})
            if found is not None:
                metrics[f"alarm/{alarm.name}"] = float(found[0])
                if found[0] and not self.on.get(alarm.name):
                    told.append(f"alarm    step {step}, {alarm.name}: {found[1]}")
                self.on[alarm.name] = found[0]
        return metrics, told


def read_log(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`, oldest first; none where there is no file."""
    file = folder / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
