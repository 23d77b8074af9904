"""Score the data of a config by a model: which examples are hard but learnable, or which solutions hold step by step.

MODEL is a run folder, a Hugging Face folder, a hub id, or `smollm2`, such as a small model that was trained early; its
own tokenizer is used. CONFIG is a config file (.py) or a run folder. Writes one JSON object a line: the example, its
problem and its score; `mtjax/data/selection/learnable.py` defines the score, and `data.selections` selects by it.

With --by=embedding, the questions of CONFIG's source are embedded: FILE is an .npz file of their ids and the mean
hidden states of MODEL, for the selection `kshot`.

With --by=least, product or last, MODEL is a run of `objective:process_reward`, a verifier of steps. Every solution of
CONFIG's source is scored by the probabilities of its steps, such as mined ones (`data.source:mined`): one JSON object a
line, best first for each problem. Prints how often the best one is right.
"""

import dataclasses
import json
import math
import pathlib
import sys
from typing import Literal

import numpy as np

from mtjax import config as settings
from mtjax.data.selection.base import asked
from mtjax.errors import ExitCode, InputError
from mtjax.io.command_line import command, split_options
from mtjax.io.files import atomic_file, write_text
from mtjax.runs.ranking import By, best_of_n, rank_solutions
from mtjax.runs.scoring import score_examples
from mtjax.runs.start import is_run
from mtjax.runs.text_scores import load_text_model
from mtjax.validation import PositiveInt


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Options of the command; other words change the config, as for `mtjax.train`."""

    output: str = "scores.jsonl"  # File to write.
    by: Literal["learnable", "embedding", "least", "product", "last"] = "learnable"
    """What is scored: examples of the training data; the questions, which are embedded; or solutions, by the
    probabilities that their steps are right: the least, the product of all, or that of the last step."""
    top_k: PositiveInt = 10  # A token is learnable if it is among so many most likely ones.
    excluded: Literal["zero", "dropped"] = "zero"  # What the median takes of other tokens: 0, or nothing.


@command("MODEL CONFIG [--output=scores.jsonl] [OVERRIDES]", options=ScoreConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    options, rest = split_options(ScoreConfig, words, "python -m mtjax.score MODEL CONFIG")
    if len(rest) < 2 or any(word.startswith("-") for word in rest[:2]):
        raise InputError(f"got {rest}: expected a model and a config, such as runs/small configs/tiny.py")
    model, file, *overrides = rest
    given = settings.read_run(file) if is_run(pathlib.Path(file)) else settings.read_file(file)
    config = settings.parse(given, overrides, f"python -m mtjax.score {model} {file}")
    if options.by == "embedding":
        return embed(model, config, options.output)
    if options.by != "learnable":
        return rank(model, config, options.by, options.output)
    scored = score_examples(model, config, options.top_k, options.excluded)
    lines = [
        {"example": one.example, "problem": one.problem, "score": None if math.isnan(one.score) else one.score}
        for one in scored
    ]
    write_text(pathlib.Path(options.output).expanduser(), "".join(json.dumps(line) + "\n" for line in lines))
    number = sum(line["score"] is not None for line in lines)
    print(
        f"{options.output}: scores of {number:,} of {len(lines):,} examples; "
        f"data.selections=(Learnable({options.output!r}, share=0.5),) in a config keeps the upper half"
    )
    return ExitCode.DONE


def embed(model: str, config: settings.Config, output: str) -> int:
    """Write the mean hidden states of the questions of a config's source, for the selection `kshot`."""
    file = pathlib.Path(
        output if output.endswith(".npz") else f"{pathlib.Path(output).with_suffix('')}.npz"
    ).expanduser()
    problems = config.data.source.problems(config.data.on_error).items
    scorer = load_text_model(model, config.data.sequence_length, config.batch_size)
    found = scorer.embed([asked(problem) for problem in problems])
    with atomic_file(file) as temporary, temporary.open("wb") as out:
        np.savez(out, ids=np.array([problem.id for problem in problems]), embeddings=found)
    print(f"{file}: {found.shape[1]} features of {len(problems):,} questions")
    return ExitCode.DONE


def rank(model: str, config: settings.Config, by: By, output: str) -> int:
    """Write every solution with the probabilities of its steps, best first for each problem, and say who is right."""
    ranked = rank_solutions(model, config, by)
    place = {name: number for number, name in enumerate(dict.fromkeys(one.problem for one in ranked))}
    ranked.sort(key=lambda one: (place[one.problem], math.isnan(one.score), -one.score))
    lines = [one._asdict() | {"score": None if math.isnan(one.score) else one.score} for one in ranked]
    write_text(pathlib.Path(output).expanduser(), "".join(json.dumps(line) + "\n" for line in lines))
    print(f"{output}: {len(ranked):,} solutions of {len(place):,} problems, ranked by the {by} of their steps")
    if (found := best_of_n(ranked)) is not None:
        share = lambda x: f"{x.mean:.1%} ({x.low:.1%} to {x.high:.1%})"
        print(
            f"best of n: right in {share(found.best)} of the {found.problems:,} problems with right and wrong "
            f"solutions; one at random: {share(found.any_one)}"
        )
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
