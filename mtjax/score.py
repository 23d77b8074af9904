"""Score the training data of a config by a model: which examples are hard but learnable, for `data.selections`.

MODEL is a run folder, a Hugging Face folder, a hub id, or `smollm2`, such as a small model that was trained early; its
own tokenizer is used. CONFIG is a config file (.py) or a run folder. Writes one JSON object a line: the example, its
problem and its score; `mtjax/data/selection/learnable.py` defines the score and selects by it.
"""

import dataclasses
import json
import math
import pathlib
import sys
from typing import Literal

from mtjax import config as settings
from mtjax.errors import ExitCode, InputError
from mtjax.io.command_line import command, split_options
from mtjax.io.files import write_text
from mtjax.runs.loading import is_run
from mtjax.runs.scoring import score_examples
from mtjax.validation import PositiveInt


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Options of the command; other words change the config, as for `mtjax.train`."""

    output: str = "scores.jsonl"  # File to write.
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


if __name__ == "__main__":
    sys.exit(main())
