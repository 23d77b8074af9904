"""Choose LoRA of a bank as experts for a task that has few examples, and say how to train their mixture.

LORA are two or more run folders with a LoRA, or PEFT folders, of one base model and one rank. They are measured on the
problems of a config file or of `data...` words, as in `python -m mtjax.evaluate`: the perplexity of the solutions and
the accuracy of the answers. Of the best, those are chosen that are good and differ from each other.
"""

import dataclasses
import itertools
import shlex
import sys
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from mtjax.distributed.hosts import check_one_host
from mtjax.errors import ExitCode, InputError
from mtjax.evaluation.config import EvaluateConfig
from mtjax.io.command_line import command, split_options
from mtjax.model.adapters.lora import Lora
from mtjax.model.adapters.selection import perplexity, select, similarity
from mtjax.model.fingerprint import fingerprint_of
from mtjax.model.language_model import without_adapter
from mtjax.reporting.report import Table, format_table
from mtjax.runs.adapters import BASE
from mtjax.runs.evaluation import evaluate, held_out_settings
from mtjax.runs.export import base_name
from mtjax.runs.loading import load_any
from mtjax.runs.model_or_server import read_settings
from mtjax.validation import check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectExpertsConfig:
    """Options of the command, besides those of the measurement."""

    experts: Annotated[int, Ge(2)] = 4  # How many to choose (N).
    most: Annotated[int, Ge(2)] = 8  # From how many of the best (M).
    accuracy: str = "pass@1"  # The number that says how often the answers are right.
    variant: Literal["paper", "code"] = "code"
    """Perplexity of complete answers (paper), in which the longest one decides, or per token (the authors' code)."""

    def __post_init__(self) -> None:
        check_types(self)


@command("LORA LORA [LORA ...] [CONFIG] [options]", options=SelectExpertsConfig, before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    options, rest = split_options(SelectExpertsConfig, words, "python -m mtjax.select_experts LORA ...")
    is_name = lambda word: not word.startswith("-") and ":" not in word and not word.endswith(".py")
    names = list(itertools.takewhile(is_name, rest))
    if len(names) < options.experts:
        raise InputError(
            f"got {len(names)} LoRA: expected at least --experts={options.experts}, before all other words"
        )
    config: EvaluateConfig = read_settings(
        [names[-1], *rest[len(names) :]], "evaluate", EvaluateConfig, held_out_settings
    )[1]

    adapters, rows, kinds, bases = [], [], [], []
    for name in names:
        loaded = load_any(name, tokenizer=config.tokenizer, merge=False)
        lora: Any = loaded.model.config.adapter
        if not isinstance(lora, Lora) or lora.dora:
            raise InputError(
                f"{name} has no plain LoRA (its adapter is {lora}); give run folders or PEFT folders of LoRA"
            )
        kinds.append((lora.rank, lora.alpha, lora.targets))
        bases.append(fingerprint_of(loaded.params[BASE]))
        if kinds[-1] != kinds[0] or bases[-1] != bases[0]:
            raise InputError(
                f"{name} does not belong to {names[0]}: rank, alpha, targets and base (fingerprint) are {kinds[-1]} on "
                f"{bases[-1]} there, and {kinds[0]} on {bases[0]} here; the experts of one mixture are alike"
            )
        adapters.append(loaded.params["adapter"])
        model, params = without_adapter(loaded.model, loaded.params)
        outcome = evaluate(loaded._replace(model=model, params=params), config)
        evaluation, numbers = next(iter(outcome.evaluations.items()))[1], next(iter(outcome.numbers.values()))
        scores = outcome.scores
        if scores is None or not len(scores.only(1).ids) or options.accuracy not in numbers:
            raise InputError(
                f"the problems give no perplexity or no {options.accuracy} (measured: {', '.join(numbers)}): they need "
                "solutions and answers"
            )
        right = scores.only(1)
        rows.append((perplexity(right.nats, right.weight, options.variant), numbers[options.accuracy].mean))
        print(f"measured {name}: {len(evaluation.ids)} problems, {options.accuracy} {rows[-1][1]:.4g}", flush=True)

    cosines = np.array([[similarity(one, other) for other in adapters] for one in adapters])
    found = select([row[0] for row in rows], [row[1] for row in rows], cosines, options.most, options.experts)
    columns = ["LoRA", "log perplexity", options.accuracy, "rank P", "rank A", "chosen"]
    marks = ["yes" if number in found.chosen else "" for number in range(len(names))]
    lines = [
        list(line)
        for line in zip(names, *zip(*rows, strict=True), found.by_perplexity, found.by_accuracy, marks, strict=True)
    ]
    print(format_table(Table(columns, lines, f"Omega of the chosen ones (diversity): {found.diversity:.4g}")))
    rank, alpha, targets = kinds[0]
    chosen = [names[number] for number in found.chosen]
    settings = [f"--init_from={base_name(names[0])}", "model.adapter:loramoe", f"--model.adapter.experts={len(chosen)}"]
    settings += ["--model.adapter.top_k=2", f"--model.adapter.rank={rank}", f"--model.adapter.alpha={alpha:g}"]
    settings += ["--model.adapter.targets", *(targets or (".*",)), "--model.adapter.bank", *chosen]
    print(f"train their mixture: python -m mtjax.train CONFIG {shlex.join(settings)}")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
