"""Measure a model: `python -m mtjax.evaluate MODEL [CONFIG] [overrides]`.

MODEL is a run folder, a Hugging Face folder, a hub id or `smollm2`. The problems are those of a config file, of the
run's own snapshot (its held-out source), or of `--data...` overrides.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import tyro

from mtjax import config as settings
from mtjax.data.batches import make_batches
from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Problem
from mtjax.data.sources import SOURCES, InMemory
from mtjax.data.tasks import TASKS
from mtjax.distributed.sharding import make_mesh, ways
from mtjax.errors import ExitCode, InputError, entry_point
from mtjax.evaluation.config import EvaluateConfig
from mtjax.evaluation.evaluator import Evaluation, evaluate_policy, metrics
from mtjax.evaluation.grading import Graded
from mtjax.evaluation.likelihood import held_out_loss, make_scorer
from mtjax.model import catalog
from mtjax.model.policy import make_policy
from mtjax.reporting.intervals import Interval, difference_interval
from mtjax.reporting.report import Table, format_table
from mtjax.runs.compiled import keep_compiled
from mtjax.runs.loading import Loaded, load_any
from mtjax.sampling.config import SamplingConfig
from mtjax.training.step import place_batch

BATCH = 16
"""Rows scored at a time for the likelihood (rounded up to what the mesh divides)."""

MAX_NEW_TOKENS = 256
"""Longest answer where the settings do not say."""


class Outcome(NamedTuple):
    """All that an evaluation found.

    Attributes:
        evaluations: by prompt: "plain", or "right" and "wrong" for the two prefixes of a mistake task.
        numbers: the metrics of each, with intervals.
        gap: right minus wrong prefix in pass@1, paired over problems; None without prefixes.
        likelihood: nats per token and per answer, of right and (as `..._wrong`) of wrong answers; may be empty.
        notes: what a reader must know besides.
    """

    evaluations: dict[str, Evaluation]
    numbers: dict[str, dict[str, Interval]]
    gap: Interval | None
    likelihood: dict[str, Interval]
    notes: list[str]


def evaluate(loaded: Loaded, config: EvaluateConfig, mesh: Any = None) -> Outcome:
    """Sample, check and score a loaded model; on `mesh`, whose parameters it has, where given.

    Raises:
        InputError: no problems, none with an answer, prompts that leave no room, other bad settings.
    """
    model, params, tokenizer, end_ids = loaded[:4]
    found = config.data.source.problems(config.data.on_error)
    problems = list(found.items[: config.limit])
    notes = [f"skipped {found.skipped:,} records that could not be read"] if found.skipped else []
    if not problems:
        raise InputError("there are no problems to evaluate on: check data.source and its split")
    task = config.data.task
    prefixes = dict(task.prefixes)
    prompts = [task.prompt(problem, polarity, tokenizer) for polarity in prefixes.values() for problem in problems]
    longest = max(len(encode_prompt(tokenizer, prompt)) for prompt in prompts)
    room = model.config.max_length - longest
    if room < 1:
        raise InputError(f"a prompt has {longest} tokens, the model room for {model.config.max_length}: shorten them")
    wanted = config.max_new_tokens or min(MAX_NEW_TOKENS, room)
    sampling = SamplingConfig(
        config.temperature, config.top_k, config.top_p, wanted, samples=config.samples, stop=config.stop
    )
    evaluations = {}
    with _on(mesh):
        likelihood = _likelihood(loaded, config, problems, mesh, notes)  # first: bad data is found before the long part
        for name, polarity in prefixes.items():
            evaluations[name] = evaluate_policy(
                model, params, tokenizer, problems, task, sampling,
                polarity=polarity, seed=config.seed, rows=config.rows, end_ids=end_ids,
            )  # fmt: skip
    numbers = {n: metrics(e, config.ks, level=config.level, seed=config.seed) for n, e in evaluations.items()}
    gap = None
    if len(evaluations) == 2:
        pair = (evaluations["right"].per_problem, evaluations["wrong"].per_problem)
        gap = difference_interval(*pair, level=config.level, seed=config.seed)
    for name, evaluation in evaluations.items():
        right, unknown = evaluation.sampled.right.mean(), evaluation.sampled.unknown.mean()
        if unknown > 0:
            notes.append(
                f"{unknown:.1%} of the samples ({name} prompt) could not be decided; they count as not right, so "
                f"pass@1 lies between {right:.3f} and {right + unknown:.3f}"
            )
    return Outcome(evaluations, numbers, gap, likelihood, notes)


def _likelihood(
    loaded: Loaded, config: EvaluateConfig, problems: list[Problem], mesh: Any, notes: list[str]
) -> dict[str, Interval]:
    """Nats of the problems' own solutions, as the task renders and weighs them; empty where there are none."""
    if not any(config.data.task.render(problem, loaded.tokenizer) for problem in problems):
        notes.append("the problems have no solutions, so there are no nats per token")
        return {}
    data = dataclasses.replace(config.data, source=InMemory(tuple(problems)), cache_dir=None)
    split = ways(mesh, "batch")
    batches = make_batches(data, loaded.tokenizer, batch_size=-(-BATCH // split) * split, seed=0, repeat=False)
    score = make_scorer(lambda params: make_policy(loaded.model, params))
    steps = (place_batch(batches.batch_at(n), mesh) for n in range(batches.steps_per_epoch))
    found = held_out_loss(score, loaded.params, steps)
    lost = {name: number for name, number in batches.report.counts._asdict().items() if number}
    if lost:
        notes.append(f"of the solutions scored for nats per token: {lost}")
    out: dict[str, Interval] = {}
    for polarity, suffix in ((1, ""), (0, "_wrong")):
        if len(found.only(polarity).ids):
            intervals = found.only(polarity).intervals(level=config.level, seed=config.seed)
            out |= {name + suffix: interval for name, interval in intervals.items()}
    return out


def _on(mesh: Any) -> Any:
    return contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh)


def table_of(outcome: Outcome, caption: str) -> Table:
    """The metrics as rows; a column per prefix and one for the gap."""
    titles = {"plain": "value", "right": "right prefix", "wrong": "wrong prefix"}
    names = list(dict.fromkeys(name for numbers in outcome.numbers.values() for name in numbers))
    columns = ["metric", *(titles[prompt] for prompt in outcome.numbers), *(["gap"] if outcome.gap else [])]
    rows: list[list[Any]] = []
    for name in names:
        values = [numbers.get(name) for numbers in outcome.numbers.values()]
        rows.append([name, *values, *([outcome.gap if name == "pass@1" else None] if outcome.gap else [])])
    for name in ("nats_per_token", "nats_per_answer"):
        values = [outcome.likelihood.get(name), outcome.likelihood.get(name + "_wrong")]
        if len(outcome.numbers) == 2 and any(values):  # wrong answers are scored behind the wrong prefix
            rows.append([name, *values, None])
        elif any(values):
            rows += [[name + end, value] for end, value in zip(("", "_wrong"), values, strict=True) if value]
    return Table(columns, rows, caption)


def save(outcome: Outcome, about: dict[str, Any], folder: pathlib.Path) -> None:
    """Write `evaluation.json` (all numbers) and `samples.jsonl` (every text with its verdict), each whole or not."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for prompt, evaluation in outcome.evaluations.items():
        graded: list[tuple[str, Graded]] = [("sample", evaluation.sampled)]
        graded += [("greedy", evaluation.greedy)] if evaluation.greedy else []
        for kind, found in graded:
            for problem, gold, *row in zip(evaluation.ids, evaluation.golds, *found, strict=True):
                for number, (text, answer, verdict) in enumerate(zip(*row, strict=True)):
                    known = {"problem": problem, "prompt": prompt, "kind": kind, "number": number, "gold": gold}
                    lines.append(json.dumps({**known, "answer": answer, "verdict": verdict.value, "text": text}))
    as_dict = lambda intervals: {name: interval._asdict() for name, interval in intervals.items()}
    numbers = {
        **about,
        "metrics": {prompt: as_dict(intervals) for prompt, intervals in outcome.numbers.items()},
        "gap": outcome.gap and outcome.gap._asdict(),
        "likelihood": as_dict(outcome.likelihood),
        "notes": outcome.notes,
    }
    _write(folder / "samples.jsonl", "".join(line + "\n" for line in lines))
    _write(folder / "evaluation.json", json.dumps(numbers, indent=2) + "\n")


def _write(path: pathlib.Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def read_settings(argv: Sequence[str]) -> tuple[str, EvaluateConfig]:
    """The model's name and the settings, from the command line; InputError for what it does not understand."""
    model, *rest = argv
    run = pathlib.Path(model).expanduser() / "config.py"
    if not run.is_file() and not catalog.HUB_ID.fullmatch(model):
        catalog.find_model(model)  # a misspelt name is refused before anything else
    file = rest.pop(0) if rest and rest[0].endswith(".py") else (run if run.is_file() else None)
    default: Any = tyro.MISSING_NONPROP
    if file is not None:
        trained = settings.read_file(file)
        source = trained.data.source if trained.held_out is None else trained.held_out.source
        default = EvaluateConfig(data=dataclasses.replace(trained.data, source=source))
    elif not {"-h", "--help"} & set(rest):
        _refuse_without_problems(model, rest)
    kind = tyro.conf.CascadeSubcommandArgs[EvaluateConfig]
    return model, settings.parse(default, rest, f"python -m mtjax.evaluate {model}", kind)


def _refuse_without_problems(model: str, words: Sequence[str]) -> None:
    """A model that is no run brings no problems: say how to name them."""
    for name, registry in (("source", SOURCES), ("task", TASKS)):
        if not any(word.startswith(f"data.{name}:") for word in words):
            raise InputError(
                f"{model!r} is no run folder, so say what to evaluate it on: give a config file, or data.source:KIND "
                f"and data.task:KIND with their settings (data.{name} is not given; known: {', '.join(registry)})"
            )


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m mtjax.evaluate MODEL [CONFIG] [overrides]\n\n{(__doc__ or '').split(chr(10), 2)[2]}")
        print("`python -m mtjax.evaluate MODEL --help` lists every setting with its value.")
        return ExitCode.DONE if argv else ExitCode.BAD_INPUT
    name, config = read_settings(argv)
    if config.output and pathlib.Path(config.output).is_file():
        raise InputError(f"--output={config.output} is a file; expected a folder, or the name of a new one")
    keep_compiled()
    mesh = make_mesh(config.mesh) if jax.device_count() > 1 else None
    tokenizer = config.tokenizer or (None if (pathlib.Path(name) / "config.py").is_file() else config.data.tokenizer)
    loaded = load_any(name, tokenizer=tokenizer, mesh=mesh, dtype=config.dtype, step=config.step)
    outcome = evaluate(loaded, config, mesh)
    count = len(next(iter(outcome.evaluations.values())).ids)
    source = type(config.data.source).__name__
    called = name if loaded.step is None else f"{name} at step {loaded.step}"
    print(
        format_table(
            table_of(
                outcome,
                f"{called}: {count} problems of {source}, {config.samples} samples each at temperature "
                f"{config.temperature:g}; {config.level:.0%} bootstrap intervals over problems",
            )
        )
    )
    for note in outcome.notes:
        print(f"note: {note}")
    run = pathlib.Path(name).expanduser()
    folder = config.output or (str(run / "evaluation") if (run / "config.py").is_file() else None)
    if folder is not None:
        about = {"model": name, "step": loaded.step, "problems": count, "settings": _plain(config)}
        save(outcome, about, pathlib.Path(folder))
        print(f"wrote {folder}/evaluation.json and samples.jsonl")
    return ExitCode.DONE


def _plain(value: Any) -> Any:
    """Settings as JSON holds them, each dataclass with its name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


if __name__ == "__main__":
    sys.exit(main())
