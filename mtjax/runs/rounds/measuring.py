"""Measurements of a run of rounds on held-out problems: one file of answers for each measured round."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Problem
from mtjax.distributed import hosts
from mtjax.errors import InputError
from mtjax.evaluation.coverage import pass_at_k
from mtjax.evaluation.evaluator import chosen_metrics, evaluate_policy, metrics
from mtjax.evaluation.grading import check_gold
from mtjax.evaluation.metrics import Evaluation
from mtjax.evaluation.needs import check_needs
from mtjax.evaluation.transitions import Labels, label_answer
from mtjax.io.files import write_text
from mtjax.reporting.intervals import Interval, mean_interval
from mtjax.runs.rounds.attempts import unique
from mtjax.runs.rounds.config import Measure, Rounds
from mtjax.runs.rounds.trainer import Trainer
from mtjax.sampling.config import MAX_NEW_TOKENS, SamplingConfig

FOLDER = "measured"
"""Folder of the measurements in the run folder, one file of answers for each measured round."""


class Answers(NamedTuple):
    """The held-out answers of one round."""

    ids: list[str]
    questions: list[str]
    texts: list[list[str]]
    verdicts: list[list[str]]

    @property
    def right(self) -> np.ndarray:
        """`[N, n]` bool: which answers are right."""
        return np.array([[verdict == "right" for verdict in row] for row in self.verdicts], bool)

    @property
    def labels(self) -> Labels:
        """What each answer is, by its problem: `right`, or a kind of error (`evaluation.transitions`)."""
        rows = zip(self.ids, self.questions, self.texts, self.verdicts, strict=True)
        return {
            name: [label_answer(question, *one) for one in zip(texts, verdicts, strict=True)]
            for name, question, texts, verdicts in rows
        }

    def pass_at(self, k: int) -> Interval:
        """pass@k with an interval over problems."""
        return mean_interval(np.asarray(pass_at_k(self.right.shape[1], self.right.sum(axis=1), k)))


class HeldOut:
    """Measures a trainer's policy; the numbers depend on its parameters alone."""

    def __init__(self, config: Rounds, settings: Measure, trainer: Trainer):
        task, data = config.train.data.task, config.train.data
        self.config, self.settings, self.trainer, self.task = config, settings, trainer, task
        found: Sequence[Problem] = settings.source.problems(data.on_error).items[: settings.limit]
        self.problems = unique(found)
        if not self.problems:
            raise InputError("measure.source has no problems; check its split")
        if config.grader.needs_gold:
            check_gold(self.problems)
        prompts = [task.prompt(problem, None, trainer.tokenizer) for problem in self.problems]
        longest = max(len(encode_prompt(trainer.tokenizer, prompt)) for prompt in prompts)
        room = trainer.model.config.max_length - longest
        wanted = config.sampling.max_new_tokens or min(MAX_NEW_TOKENS, room)
        if room < max(wanted, 1):
            raise InputError(
                f"a prompt of measure.source has {longest} tokens and the model room for "
                f"{trainer.model.config.max_length}: that leaves no place for an answer of {max(wanted, 1)}; lower "
                "sampling.max_new_tokens"
            )
        sampling = SamplingConfig(settings.temperature, max_new_tokens=wanted, samples=settings.samples)
        self.sampling = trainer.decoding.sampling(sampling)
        self.chosen = chosen_metrics(settings.metrics)
        check_needs(self.chosen, self.problems, task, self.sampling)
        self.folder = pathlib.Path(config.train.run_dir) / FOLDER

    def measure(self, number: int) -> dict[str, float]:
        """pass@k of the policy as it is now; its answers are kept as those of round `number`, and read if they are."""
        file = self.folder / f"{number:04}.jsonl"
        if not hosts.on_first(file.is_file):
            found = self._evaluation()
            hosts.on_first(lambda: self._write(file, found))
        right = np.array(hosts.on_first(lambda: read(file).right.tolist()), bool)
        samples, counts = right.shape[1], right.sum(axis=1)
        return {f"pass@{k}": float(np.mean(pass_at_k(samples, counts, k))) for k in self.settings.all_ks}

    def numbers(self, number: int) -> dict[str, float]:
        """The metrics of a measured round by name; a metric that found nothing is not among them."""
        file = self.folder / f"{number:04}.jsonl"
        found: dict[str, float] = hosts.on_first(
            lambda: {name: interval.mean for name, interval in read_metrics(file).items()}
        )
        return found

    def _write(self, file: pathlib.Path, found: Evaluation) -> None:
        """Keep a measurement: its metrics before its answers, whose file says that the round is measured."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.chosen:
            ks, seed = self.settings.all_ks, self.settings.seed
            numbers = metrics(found, ks, seed=seed, names=self.settings.metrics)
            as_dict = {name: interval._asdict() for name, interval in numbers.items()}
            write_text(metrics_file(file), json.dumps(as_dict, indent=2) + "\n")
        write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self._answers(found)))

    def _evaluation(self) -> Evaluation:
        needs = {"samples"}.union(*(metric.needs for metric in self.chosen.values()))
        with self.trainer.on_mesh():
            return evaluate_policy(
                self.trainer.model, self.trainer.params, self.trainer.tokenizer, self.problems, self.task,
                self.sampling, needs=needs, grader=self.config.grader, seed=self.settings.seed, rows=self.config.rows,
            )  # fmt: skip

    def _answers(self, found: Evaluation) -> list[dict[str, Any]]:
        graded = found.sampled
        rows = zip(self.problems, graded.texts, graded.verdicts, strict=True)
        return [
            {
                "id": problem.id,
                "question": problem.question,
                "texts": texts,
                "verdicts": [one.value for one in verdicts],
            }
            for problem, texts, verdicts in rows
        ]


def metrics_file(file: pathlib.Path) -> pathlib.Path:
    """Where the metrics of a measured round are, beside its answers."""
    return file.with_suffix(".metrics.json")


def read_metrics(file: pathlib.Path) -> dict[str, Interval]:
    """The metrics beside the answers of a measured round; {} where there are none."""
    own = metrics_file(file)
    return {name: Interval(**one) for name, one in json.loads(own.read_text()).items()} if own.is_file() else {}


def read(file: pathlib.Path) -> Answers:
    """The answers of a measured round."""
    with file.open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return Answers(*([one[key] for one in found] for key in ("id", "question", "texts", "verdicts")))
