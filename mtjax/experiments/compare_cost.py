"""What the comparison cost, how its learning rates were chosen, and how it was made: sections of its report."""

from typing import Any

import numpy as np

from mtjax.experiments.compare import Outcome, total_seconds, validation_pass
from mtjax.experiments.config import Comparison
from mtjax.reporting.report import Section, Table, section

HOW = """\
The start model imitates generated arithmetic in which {source.habit_share:.0%} of the solutions drop carries and
borrows (probability {source.slip_probability} a step): a kind of mistake planted on purpose. It stopped at step
{o.begin.steps}, when its sampled accuracy on problems of the stop rule's own was within {c.target} ({stop:.3f}).

It then solved {problems} problems {c.mine_samples} times; the exact checker found {o.mined.right} distinct right and
{o.mined.wrong} wrong solutions. Out of its own right steps a seeded rule editor made {o.injected.pairs} step pairs
({o.injected.made} edits tried), each wrong side proved wrong by the checker: {kinds}.

Every method starts from the same weights with fresh moments and does {c.arm_steps} updates of {c.batch_size} rows of
{c.sequence_length} positions (a pair has two rows), with a learning rate chosen on {validation} validation problems by
pass@{c.tune_k}, with a seed of its own; then once for each of the seeds {c.seeds}. pass@k is estimated without bias
from {c.samples} samples at temperature 1 of each of {test} test problems, which are the same for all. An interval
speaks of other problems, not of other seeds: the seeds stand beside it. Intervals are not corrected for being many.

{methods}"""


COST = """\
All methods train on equal forward positions of the policy. What comes on top is counted here: positions of a reference,
and the solutions that were sampled before any method could start, the same for all (right-only training needs them
too): {drawn:,} solutions, {tokens:,} tokens. The step pairs were made by rule, without a model. `forward passes` counts
a training position as three forward ones (one forwards, two backwards) and a reference's or a sampled token as one, per
arm. Choosing the learning rate multiplies an arm by {rates} more, on a set of its own.

Seconds are those of this machine, with whatever else it did meanwhile:

{seconds}"""

RATES = """\
pass@{c.tune_k} on {number} validation problems from {c.tune_samples} samples each, after all updates, with data order
{c.tune_seed}; the highest is taken, of equal ones the lower rate. {edge}"""


def cost_section(c: Comparison, outcome: Outcome) -> Section:
    """Positions, targets and seconds of each method."""
    rows: list[tuple[Any, ...]] = []
    for name, records in outcome.arms.items():
        mean = {key: int(np.mean([record.cost[key] for record in records])) for key in records[0].cost}
        seconds = float(np.mean([record.seconds["train"] for record in records]))
        passes = 3 * mean["positions"] + mean["reference_positions"] + outcome.mined.tokens
        counted = ("updates", "examples", "positions", "reference_positions", "target_tokens", "right_tokens")
        rows.append((name, *(mean[key] for key in counted), passes, seconds))
    columns = ("arm", "updates", "examples", "positions", "of the reference", "targets", "of right texts")
    table = Table((*columns, "forward passes", "seconds"), tuple(rows), "Means over the seeds.")
    spent = "\n".join(f"- {name}: {took:.0f} s" for name, took in total_seconds(outcome).items())
    mined = outcome.mined
    text = COST.format(drawn=mined.drawn, tokens=mined.tokens, rates=len(c.rates), seconds=spent)
    return section("What it cost", text, table)


def rates_section(c: Comparison, outcome: Outcome) -> Section:
    """The grid, what each rate gave, and which methods took one at its edge."""
    rows: list[tuple[Any, ...]] = [
        (name, *(validation_pass(own[rate], c.tune_k) for rate in c.rates), f"{outcome.rates[name]:g}")
        for name, own in outcome.tuning.items()
    ]
    ends = {min(c.rates), max(c.rates)} if len(c.rates) > 1 else set()
    at_edge = [name for name, rate in outcome.rates.items() if rate in ends]
    edge = "No method took a rate at the edge of the grid."
    if at_edge:
        edge = f"At the edge of the grid, where a wider one might be better: {', '.join(at_edge)}."
    text = RATES.format(c=c, number=c.validation_source.count, edge=edge)
    return section("Learning rates", text, Table(("method", *(f"{rate:g}" for rate in c.rates), "taken"), rows))


def how_section(c: Comparison, outcome: Outcome) -> Section:
    """The protocol in words, and what each method is."""
    methods = "\n".join(
        f"- **{name}**: {method.says} `{method.objective_name}`" for name, method in outcome.methods.items()
    )
    kinds = ", ".join(f"{name} {count}" for name, count in outcome.injected.kinds.items())
    text = HOW.format(
        c=c,
        o=outcome,
        source=c.start_source,
        stop=outcome.begin.stop_rule[-1][1],
        problems=len(outcome.mined.problems),
        validation=c.validation_source.count,
        test=c.test_source.count,
        kinds=kinds,
        methods=methods,
    )
    return section("How it was made", text)
