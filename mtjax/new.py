"""Write a config for a file of your own: `python -m mtjax.new NAME --data=FILE`.

NAME is the config file to write, such as mine.py. The records are recognised (docs/your_data.md) and counted; task,
objective, lengths and steps are chosen to fit them, and each is explained in the file.
"""

import dataclasses
import pathlib
import sys
from typing import Literal

from mtjax.data.sources.detection import source_of
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode, InputError
from mtjax.inspection.new_config import FEWEST_TO_HOLD_OUT, read_data, sizes_of, write_config
from mtjax.io.command_line import command, split_options
from mtjax.io.files import write_text
from mtjax.model.catalog import model_config
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewConfig:
    """Options of `python -m mtjax.new`."""

    data: str  # File, folder or pattern of records, in any format of docs/your_data.md.
    model: str = "smollm2"  # Model to tune: `smollm2`, a Hugging Face folder, or a hub id.
    goal: Literal["auto", "completion", "chat", "pairs", "mistakes"] = "auto"
    """What to learn: completions of prompts, conversations, to prefer one answer of a pair, or right and wrong answers
    behind a prefix; auto takes what fits the records."""
    held_out: str | None = None
    """Another file whose loss is measured during training. None: of 200 records or more, 70 % are trained on, 10 % held
    out for this, and 20 % left for a test."""
    epochs: PositiveInt = 5  # Passes over the data.
    full: bool = False  # Tune all parameters; otherwise LoRA, which needs less memory.
    overwrite: bool = False  # Replace the config file, if it is there.

    def __post_init__(self) -> None:
        check_types(self)


@command("NAME --data=FILE [options]", options=NewConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    options, rest = split_options(NewConfig, words[1:], "python -m mtjax.new NAME")
    if rest or words[0].startswith("-"):
        raise InputError(f"{(rest or words)[0]!r} is not understood; expected NAME and options, which --help lists")
    file = pathlib.Path(words[0] if words[0].endswith(".py") else f"{words[0]}.py")
    if file.exists() and not options.overwrite:
        raise InputError(f"{file} exists; choose another name, or pass --overwrite to replace it")
    if not file.absolute().parent.is_dir():
        raise InputError(f"{file.parent} is not a folder; make it first")
    tokenizer, shape = load_tokenizer(options.model), model_config(options.model)
    source, goal, task, records = read_data(options.data, options.goal, tokenizer)
    sizes = sizes_of(source, task, tokenizer, getattr(shape, "max_length", None))
    held_out = source_of(options.held_out) if options.held_out else None
    if held_out is None and records >= FEWEST_TO_HOLD_OUT:
        source, held_out = (dataclasses.replace(source, split=split) for split in ("train", "validation"))
        sizes = sizes_of(source, task, tokenizer, getattr(shape, "max_length", None))
    text = write_config(str(file), options.model, source, held_out, goal, task, sizes, options.epochs, options.full)
    write_text(file, text)
    print(f"wrote {file}: {goal}, {sizes.examples:,} examples of {records:,} records, {sizes.tokens:,} tokens")
    print(f"look:    python -m mtjax.inspect {file}")
    print(f"train:   python -m mtjax.train {file}")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
