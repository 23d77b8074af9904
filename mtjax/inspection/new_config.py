"""A config file for data and a model of the user's own, with comments and sizes that fit the data."""

import dataclasses
import json
import math
import pathlib
from typing import Any, Literal, NamedTuple

import numpy as np

from mtjax.data.batches import DataConfig
from mtjax.data.kept import index_of
from mtjax.data.problem import Problem
from mtjax.data.sources import Files
from mtjax.data.sources.detection import source_of
from mtjax.data.tasks import ChatTask, CompletionTask, MistakeTask, PairTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.inspection.data_view import fitting_task

Goal = Literal["completion", "chat", "pairs", "mistakes"]

LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)  # Tokens of a row that are offered.
FEWEST_TO_HOLD_OUT = 200  # Records of a file from which a part is held out.


class Kind(NamedTuple):
    """What is written for a goal."""

    task: str  # its class
    module: str  # where the objective is
    objective: str  # as it is made
    rates: tuple[float, float]  # learning rates for LoRA and for all parameters
    about: str  # why


KINDS: dict[Goal, Kind] = {
    "completion": Kind("CompletionTask", "nll", "Nll()", (5e-4, 2e-5), "cross-entropy of the answers"),
    "chat": Kind("ChatTask", "nll", "Nll()", (5e-4, 2e-5), "cross-entropy of what the assistant says"),
    "pairs": Kind("PairTask", "dpo", "Dpo(beta=0.1)", (5e-5, 5e-7), "prefer the chosen answer (docs/objectives.md)"),
    "mistakes": Kind(
        "MistakeTask", "mistake_tuning", "MistakeTuning()", (5e-4, 2e-5),
        "cross-entropy of right and wrong answers, each after a prefix that says which it is",
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the data ask for."""

    examples: int
    tokens: int  # of all examples
    length: int  # tokens of a row
    batch_size: int  # rows of a step
    steps_per_epoch: int


def goal_of(problems: list[Problem], tokenizer: Tokenizer, talks: bool) -> Goal:
    """The goal that fits records: pairs, mistakes where there are wrong answers, conversations, else completion."""
    task = fitting_task(problems, tokenizer, talks=talks)
    if task.name == "pair":
        return "pairs"
    if any(problem.wrong for problem in problems):
        return "mistakes"
    if task.name in ("chat", "completion"):
        return "chat" if task.name == "chat" else "completion"
    raise InputError(f"these records are for the task '{task.name}'; take a config of configs/ and docs/data.md for it")


def task_of(goal: Goal, tokenizer: Tokenizer, texts: bool = False) -> Any:
    """The task of a goal: in the chat template of the tokenizer where it has one, unless data are `texts` alone."""
    template: dict[str, Any] = {"template": "chat"} if tokenizer.chat_template and not texts else {}
    if goal == "chat":
        return ChatTask()
    if goal == "mistakes":
        return MistakeTask(decode_prefix="correct", **template)
    return PairTask(**template) if goal == "pairs" else CompletionTask(**template)


def read_data(path: str, goal: str, tokenizer: Tokenizer) -> tuple[Any, Goal, Any, int]:
    """The source of a file, the goal that fits it ("auto") or that is asked for, its task, and the number of records.

    Raises:
        InputError: no such file, records that cannot be read, or that do not fit the goal.
    """
    source = source_of(path)
    if isinstance(source, Files):
        found, reader = source.scan()
        talks = reader.talks
    else:
        found, talks = source.problems(), False
    problems = list(found.items)
    chosen: Goal = goal_of(problems, tokenizer, talks) if goal == "auto" else goal  # type: ignore[assignment]
    task = task_of(chosen, tokenizer, texts=not any(problem.question or problem.messages for problem in problems))
    if not any(task.render(problem, tokenizer) for problem in problems):
        raise InputError(
            f"{path} fits no --goal={chosen}, which needs {task.needs}; leave --goal out to take what fits"
        )
    return source, chosen, task, len(problems)


def sizes_of(source: Any, task: Any, tokenizer: Tokenizer, most: int | None) -> Sizes:
    """Row length, batch size and steps for data: rows that hold 99 % of the examples, and 2 to 32 of them a step."""
    config = DataConfig(source=source, task=task, sequence_length=1 << 20, cache_dir=None)
    needed = index_of(source, config, tokenizer).needed
    lengths = np.asarray(needed)
    wanted = float(np.quantile(lengths, 0.99))
    offered = [length for length in LENGTHS if most is None or length <= most] or [most or LENGTHS[0]]
    length = next((length for length in offered if length >= 2 * wanted), offered[-1])
    tokens = int(lengths.sum())
    rows = max(math.ceil(tokens * task.sides / length), 1)
    batch = int(np.clip(2 ** round(math.log2(max(rows / 8, 1))), 2, 32))
    return Sizes(
        examples=len(lengths), tokens=tokens, length=length, batch_size=batch, steps_per_epoch=math.ceil(rows / batch)
    )


def write_config(
    name: str, model: str, source: Any, held_out: Any, goal: Goal, task: Any, sizes: Sizes, epochs: int, full: bool
) -> str:
    """The text of the config file `name`; `held_out` is a second source, or None."""
    kind, steps = KINDS[goal], max(sizes.steps_per_epoch * epochs, 10)
    settings = {"decode_prefix": "correct"} if goal == "mistakes" else {}
    if task.template == "chat" and goal != "chat":
        settings["template"] = "chat"
    objective = kind.objective.partition("(")[0]
    sources = sorted({type(one).__name__ for one in (source, held_out) if one is not None})
    imports = [
        f"from mtjax.config import CheckpointConfig, Config{', HeldOut' if held_out else ''}",
        "from mtjax.data.batches import DataConfig",
        f"from mtjax.data.sources import {', '.join(sources)}",
        f"from mtjax.data.tasks import {kind.task}",
        *([] if full else ["from mtjax.model.adapters.lora import Lora"]),
        "from mtjax.model.decoder import DecoderConfig",
        f"from mtjax.objectives.{kind.module} import {objective}",
        "from mtjax.optim import OptimConfig",
    ]
    lines = [
        f'"""Tune {model} on {source.path}: {kind.about}.',
        "",
        f"Command:  python -m mtjax.train {name}",
        f"Data:     {sizes.examples:,} examples, {sizes.tokens:,} tokens; one epoch is {sizes.steps_per_epoch} steps.",
        "",
        f"Settings may be given on the command line too: python -m mtjax.train {name} --steps=10 --run_dir=runs/try",
        '"""',
        "",
        *imports,
        "",
        "config = Config(",
        f"    init_from={json.dumps(model)},  # smollm2, a Hugging Face folder or hub id, or a run folder of mtjax",
        '    # remat computes activations twice, to save memory. On a GPU or TPU, dtype="bfloat16" is faster.',
        "    # All parameters are tuned." if full else "    # LoRA trains small matrices beside the frozen weights.",
        f'    model=DecoderConfig(remat="full"{"" if full else ", adapter=Lora(rank=16, alpha=32.0)"}),',
        "    data=DataConfig(",
        f"        source={_source(source)},",
        f"        task={kind.task}({', '.join(f'{key}={json.dumps(value)}' for key, value in settings.items())}),",
        f"        sequence_length={sizes.length},  # tokens of a row; examples are packed, longer ones left out",
        '        max_segments="auto",',
        "    ),",
        f"    objective={kind.objective},  # {kind.about}",
        f"    optim=OptimConfig(learning_rate={kind.rates[full]:g}, warmup_steps={max(steps // 10, 1)}),",
        *(_held_out(held_out, max(steps // 5, 1)) if held_out else ()),
        f"    checkpoint=CheckpointConfig(every={max(steps // 2, 1)}, keep=1),",
        f"    steps={steps},  # {steps / sizes.steps_per_epoch:.3g} epochs",
        f"    batch_size={sizes.batch_size},  # rows of a step; micro_batches=2 takes less memory",
        f'    run_dir="runs/{pathlib.Path(name).stem}",',
        ")",
    ]
    return "\n".join(lines) + "\n"


def _source(source: Any) -> str:
    split = "" if source.split == "all" else f", split={json.dumps(source.split)}"
    return f"{type(source).__name__}({json.dumps(source.path)}{split})"


def _held_out(source: Any, every: int) -> list[str]:
    return [
        "    # Never trained on: its loss is measured every so many steps, and the best checkpoint by it is kept.",
        f"    held_out=HeldOut(source={_source(source)}, every={every}, batches=8),",
    ]
