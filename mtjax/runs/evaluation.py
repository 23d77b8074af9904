"""Evaluation of a loaded model: sample, grade, score, and the files and tables of what was found."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from mtjax.config import Config
from mtjax.data.batches import make_batches, unlimited
from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.distributed import hosts
from mtjax.distributed.placement import own_rows, read_whole
from mtjax.distributed.sharding import ways
from mtjax.errors import InputError
from mtjax.evaluation.config import EvaluateConfig
from mtjax.evaluation.evaluator import chosen_metrics, evaluate_policy, metrics
from mtjax.evaluation.metrics import SHARED, Evaluation, Likelihood
from mtjax.evaluation.metrics.likelihood import held_out_loss, make_scorer
from mtjax.evaluation.needs import check_needs
from mtjax.evaluation.verifying import ValueVerifier
from mtjax.io.files import write_text
from mtjax.io.progress import track
from mtjax.model.policy import make_policy
from mtjax.reporting.intervals import Interval
from mtjax.reporting.report import Table
from mtjax.runs.loading import Loaded, load_any
from mtjax.sampling.config import MAX_NEW_TOKENS
from mtjax.training.step import place_batch
from mtjax.types import short_repr

BATCH = 16
"""Rows scored at a time for the likelihood (rounded up to what the mesh divides)."""


@short_repr
class Outcome(NamedTuple):
    """Everything that an evaluation found."""

    evaluations: dict[str, Evaluation]  # by prompt: "plain", or "right" and "wrong" for the prefixes of a mistake task
    numbers: dict[str, dict[str, Interval]]  # the metrics of each prompt, with intervals
    shared: dict[str, dict[str, Interval]]  # the numbers of each metric that is computed once for all prompts
    notes: list[str]  # what a reader must know besides
    scores: Likelihood | None = None  # nats of each of the problems' own solutions, where a metric needed them

    @property
    def gap(self) -> Interval | None:
        """Right minus wrong prefix in pass@1, paired over problems; None without prefixes."""
        return self.shared.get("gap", {}).get("gap")

    @property
    def likelihood(self) -> dict[str, Interval]:
        """Nats per token and per answer, of right and (as `..._wrong`) of wrong answers; may be empty."""
        return self.shared.get("likelihood", {})


def held_out_settings(trained: Config, tokenizer: str | None) -> EvaluateConfig:
    """The settings for the held-out source of a training run's config."""
    source = trained.data.source if trained.held_out is None else trained.held_out.source
    return EvaluateConfig(data=dataclasses.replace(trained.data, source=source))


def evaluate(loaded: Loaded, config: EvaluateConfig, mesh: Any = None) -> Outcome:
    """Sample, grade and score a loaded model; on `mesh`, whose parameters it has, where given.

    Raises:
        InputError: no problems, none with an answer, prompts that leave no room, other bad settings.
    """
    model, params, tokenizer = loaded[:3]
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
    wanted = config.sampling.max_new_tokens or min(MAX_NEW_TOKENS, room)
    sampling = dataclasses.replace(config.sampling, max_new_tokens=wanted)
    chosen = chosen_metrics(config.metrics or None)
    needs = {need for metric in chosen.values() for need in metric.needs}
    if config.metrics:
        has_solutions = lambda: any(task.render(problem, tokenizer) for problem in problems)
        check_needs(
            chosen, problems, task, sampling, second_grader=config.second_grader, stages=config.stages,
            has_solutions=has_solutions,
        )  # fmt: skip
    before = {name: earlier(config.stages, name, problems) for name in prefixes} if "stages" in needs else {}
    evaluations, scores, drawn, verifier = dict[str, Evaluation](), None, None, _verifier(loaded, config, mesh)
    with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
        if "scores" in needs:  # first: bad data is found before the long part
            scores = _scores(loaded, config, problems, mesh, notes)
        if "random_scores" in needs and scores is not None:
            drawn = random_scores(loaded, config, problems, mesh)
        for name, polarity in prefixes.items():
            evaluations[name] = evaluate_policy(
                model, params, tokenizer, problems, task, sampling, polarity=polarity,
                needs=needs, grader=config.grader, verifier=verifier, second_grader=config.second_grader,
                seed=config.seed, rows=config.rows,
            )._replace(stages=before.get(name))  # fmt: skip
    options: dict[str, Any] = {"level": config.level, "seed": config.seed, "aggregation": config.aggregation}
    each = [name for name, metric in chosen.items() if not SHARED & set(metric.needs)]
    own = {
        name: {one: metrics(e, config.ks, names=[one], **options) for one in each} for name, e in evaluations.items()
    }
    numbers = {name: {key: x for one in found.values() for key, x in one.items()} for name, found in own.items()}
    both = next(iter(evaluations.values()))._replace(
        scores=scores, wrong_prefix=evaluations.get("wrong"), random_scores=drawn
    )
    shared = {name: metrics(both, config.ks, names=[name], **options) for name in chosen if name not in each}
    for name, metric in chosen.items() if config.metrics else ():
        if not any((*(found.get(name) for found in own.values()), shared.get(name))):
            notes.append(f"metric '{name}' found no number: {getattr(metric, 'asks', 'nothing here is of its kind')}")
    for name, evaluation in evaluations.items():
        if evaluation.samples and (unknown := evaluation.samples.unknown.mean()) > 0:
            right = evaluation.samples.right.mean()
            notes.append(
                f"{unknown:.1%} of the samples ({name} prompt) could not be decided; they count as not right, so "
                f"pass@1 lies between {right:.3f} and {right + unknown:.3f}"
            )
    return Outcome(evaluations, numbers, shared, notes, scores)


def _verifier(loaded: Loaded, config: EvaluateConfig, mesh: Any) -> ValueVerifier | None:
    """What values the samples, where the aggregation asks for it."""
    if not config.needs_value:
        return None
    if config.verifier is None:
        return ValueVerifier(loaded.model, loaded.params, loaded.tokenizer, rows=BATCH)
    other = load_any(config.verifier, mesh=mesh, dtype=config.dtype)
    return ValueVerifier(other.model, other.params, other.tokenizer, other.decoding, BATCH)


def _scores(
    loaded: Loaded, config: EvaluateConfig, problems: list[Problem], mesh: Any, notes: list[str]
) -> Likelihood | None:
    """Nats of the problems' own solutions, as the task renders and weighs them; None where there are none."""
    if not any(config.data.task.render(problem, loaded.tokenizer) for problem in problems):
        notes.append("the problems have no solutions, so there are no nats per token")
        return None
    score, batches = _scorer(loaded, config, problems, mesh)
    steps = (place_batch(batches.batch_at(n), mesh) for n in track(range(batches.steps_per_epoch), "scoring"))
    found = held_out_loss(score, loaded.params, steps)
    lost = {name: number for name, number in batches.report.counts._asdict().items() if number and name != "unknown"}
    if lost:
        notes.append(f"of the solutions scored for nats per token: {lost}")
    return found


def _scorer(loaded: Loaded, config: EvaluateConfig, problems: list[Problem], mesh: Any) -> Any:
    """What scores solutions, and the batches that hold them."""
    data = unlimited(dataclasses.replace(config.data, source=InMemory(tuple(problems)), cache_dir=None))
    split = ways(mesh, "batch")
    size = -(-BATCH // split) * split
    rows = own_rows(mesh, size)
    batches = make_batches(data, loaded.tokenizer, batch_size=size, seed=0, repeat=False, rows=rows)
    return make_scorer(lambda params: make_policy(loaded.model, params, targets_only=True)), batches


def random_scores(
    loaded: Loaded, config: EvaluateConfig, problems: list[Problem], mesh: Any = None
) -> Float[np.ndarray, " K"]:
    """Nats per token of right solutions under `config.random_models` models of the same shape, drawn at random."""
    score, batches = _scorer(loaded, config, problems, mesh)
    init, out = jax.jit(loaded.model.init), []
    for number in track(range(config.random_models), "random models"):
        params = read_whole(init(jax.random.fold_in(jax.random.key(config.seed), number)))
        steps = (place_batch(batches.batch_at(n), mesh) for n in range(batches.steps_per_epoch))
        found = held_out_loss(score, params, steps)
        own = found.only(1) if len(found.only(1).ids) else found
        out.append(own.nats.sum() / own.weight.sum())
    return np.array(out)


def earlier(folders: Sequence[str], prompt: str, problems: Sequence[Problem]) -> Bool[np.ndarray, "S N"]:
    """Whether the greedy answers of earlier evaluations of the same problems were right; InputError for others."""
    rows = []
    for folder in folders:
        file = pathlib.Path(folder).expanduser() / "samples.jsonl"
        if not file.is_file():
            raise InputError(
                f"--stages={folder} has no samples.jsonl; give the --output folder of `python -m mtjax.evaluate`"
            )
        with file.open(encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
        right = {
            x["problem"]: x["verdict"] == "right" for x in found if x["kind"] == "greedy" and x["prompt"] == prompt
        }
        if missing := next((one.id for one in problems if one.id not in right), None):
            raise InputError(
                f"--stages={folder} has no greedy answer to problem {missing}; evaluate every model on the same "
                "problems, with the same --limit and --metrics continual or greedy"
            )
        rows.append([right[one.id] for one in problems])
    return np.array(rows, bool)


def table_of(outcome: Outcome, caption: str) -> Table:
    """The metrics as rows; a column per prefix and one for the gap."""
    titles = {"plain": "value", "right": "right prefix", "wrong": "wrong prefix"}
    names = list(dict.fromkeys(name for numbers in outcome.numbers.values() for name in numbers))
    columns = ["metric", *(titles[prompt] for prompt in outcome.numbers), *(["gap"] if outcome.gap else [])]
    rows: list[list[Any]] = []
    for name in names:
        values = [numbers.get(name) for numbers in outcome.numbers.values()]
        rows.append([name, *values, *([outcome.gap if name == "pass@1" else None] if outcome.gap else [])])
    shared = {name: value for kind, own in outcome.shared.items() if kind != "gap" for name, value in own.items()}
    for name in dict.fromkeys(name.removesuffix("_wrong") for name in shared):
        values = [shared.get(name), shared.get(f"{name}_wrong")]
        if len(outcome.numbers) == 2:  # wrong answers are scored after the wrong prefix
            rows.append([name, *values, *([None] if outcome.gap else [])])
        else:
            rows += [[name + end, value] for end, value in zip(("", "_wrong"), values, strict=True) if value]
    return Table(columns, rows, caption)


def save(outcome: Outcome, about: dict[str, Any], folder: pathlib.Path) -> None:
    """Write `evaluation.json` (all numbers) and `samples.jsonl` (every text with its verdict), each atomically.

    Of many hosts the first writes.
    """
    if hosts.index():
        return
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for prompt, evaluation in outcome.evaluations.items():
        for kind, found in (("sample", evaluation.samples), ("greedy", evaluation.greedy)):
            rows = zip(found.texts, found.answers, found.verdicts, strict=True) if found else ()
            for problem, gold, row in zip(evaluation.ids, evaluation.golds, rows, strict=False):
                for number, (text, answer, verdict) in enumerate(zip(*row, strict=True)):
                    known = {"problem": problem, "prompt": prompt, "kind": kind, "number": number, "gold": gold}
                    lines.append(json.dumps({**known, "answer": answer, "verdict": verdict.value, "text": text}))
    as_dict = lambda intervals: {name: interval._asdict() for name, interval in intervals.items()}
    numbers = {
        **about,
        "metrics": {prompt: as_dict(intervals) for prompt, intervals in outcome.numbers.items()},
        "gap": outcome.gap and outcome.gap._asdict(),
        "likelihood": as_dict(outcome.likelihood),
        **{name: as_dict(found) for name, found in outcome.shared.items() if name not in ("gap", "likelihood")},
        "notes": outcome.notes,
    }
    write_text(folder / "samples.jsonl", "".join(line + "\n" for line in lines))
    write_text(folder / "evaluation.json", json.dumps(numbers, indent=2) + "\n")


def settings_as_json(value: Any) -> Any:
    """Settings as JSON holds them, each dataclass with its name; those of sampling stand among the others."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: settings_as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        own = fields.pop("sampling") if isinstance(value, EvaluateConfig) else {}
        return {"kind": "", **own, **fields} | {"kind": type(value).__name__}
    return [settings_as_json(item) for item in value] if isinstance(value, tuple | list) else value
