"""Does SmolLM2-135M see the first errors in real chains of thought, and do simple baselines?

python tests/benchmarks/first_errors.py                     # all tables of docs/recipes/first_errors.md
python tests/benchmarks/first_errors.py --most=8 --tasks multistep_arithmetic

From BIG-Bench Mistake, `--most` chains of each task, as nearly as possible half of them without an error. Whether a
chain has an error is asked by `data.source:error_detection` in two orders of the options (the metric
`error_probability`); where it is, by the nats of each step after the question. Baselines: constants, the number of
steps, and for arithmetic a rule that evaluates both sides of every equation.
"""

import argparse
import ast
import json
import operator
import pathlib
import re
import tempfile
import time

import numpy as np

from mtjax.data.examples import encode_prompt
from mtjax.data.sources import BigBenchMistake
from mtjax.data.sources.error_detection import ErrorDetection
from mtjax.data.tasks import CHATML, CompletionTask
from mtjax.evaluation.detection import constants
from mtjax.evaluation.evaluator import evaluate_policy, metrics
from mtjax.evaluation.token_scores import token_scores
from mtjax.io.hashing import unit
from mtjax.reporting.intervals import mean_interval, statistic_interval
from mtjax.reporting.ranking import auroc
from mtjax.runs.loading import load_any
from mtjax.sampling.config import SamplingConfig

DATA = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "data" / "bigbench_mistake"
TASKS = {"multistep_arithmetic": 60, "tracking_shuffled_objects": 60, "dyck_languages": 60, "logical_deduction": 24,
         "word_sorting": 16}  # fmt: skip
"""Chains of each task; fewer of the long ones."""
PROMPT = CompletionTask(template=CHATML)
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def chosen(task: str, most: int) -> tuple[list, list[dict]]:
    """Chains of a task with their records, half of them without an error where there are enough."""
    file = DATA / f"{task}.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    pairs = sorted(
        zip(BigBenchMistake(str(file)).traces(), records, strict=True), key=lambda one: unit(task, one[0].problem.id)
    )
    pairs = [pair for pair in pairs if len(" ".join(pair[0].steps)) < 6000]
    right = [pair for pair in pairs if pair[0].problem.right]
    wrong = [pair for pair in pairs if pair[0].first_wrong is not None]
    few = min(most // 2, len(right))
    both = right[:few] + wrong[: most - few]
    return [trace for trace, _ in both], [record for _, record in both]


def value_of(text: str) -> float | None:
    """The value of an arithmetic expression; None for anything else."""

    def of(node: ast.AST) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -of(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](of(node.left), of(node.right))
        raise ValueError

    try:
        return of(ast.parse(text.strip().rstrip("."), mode="eval").body)
    except (ValueError, SyntaxError, ZeroDivisionError, RecursionError):
        return None


def false_equation(step: str) -> bool:
    """Whether two sides of an equation in a step have different values, as far as both can be evaluated."""
    for sentence in re.split(r"\.\s|,\s", step):
        values = [value_of(re.sub(r"^.*?(?=[-(\d])", "", side, count=1)) for side in sentence.split("=")]
        known = [value for value in values if value is not None]
        if any(abs(a - b) > 1e-9 for a, b in zip(known, known[1:], strict=False)):
            return True
    return False


def step_nats(loaded, traces: list, rows: int) -> list[np.ndarray]:
    """Mean nats per token of each step of each chain, after the question."""
    pairs, ends = [], []
    for trace in traces:
        texts = ["".join(f"{step}\n" for step in trace.steps[: n + 1]) for n in range(len(trace.steps))]
        ids = [loaded.tokenizer.encode(text).ids for text in texts]
        pairs.append((encode_prompt(loaded.tokenizer, PROMPT.prompt(trace.problem, None, loaded.tokenizer)), ids[-1]))
        ends.append([0, *map(len, ids)])
    found = token_scores(*loaded[:2], pairs, rows)
    return [
        np.array([-one.logprob[a:b].mean() for a, b in zip(own, own[1:], strict=False)])
        for one, own in zip(found, ends, strict=True)
    ]


def ranked(score, wrong) -> str:
    score, wrong = np.asarray(score, float), np.asarray(wrong, bool)
    found = statistic_interval(lambda index: auroc(score[index], wrong[index]), len(wrong))
    return "-" if found is None else str(found)


def share(values) -> str:
    return str(mean_interval(np.asarray(values, float)))


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--most", type=int)
    parser.add_argument("--rows", type=int, default=4)
    options, began = parser.parse_args(), time.perf_counter()
    loaded = load_any("smollm2")
    heads = ["task", "chains", "wrong", "`error_auroc`", "F1 at 0.5", "F1 of always", "nats per token", "worst step"]
    detection = [row([*heads, "number of steps", "false equation"]), "| --- " * 10 + "|"]
    heads = ["task", "wrong chains", "most nats", "largest rise", "first step", "last step", "at random"]
    location = [row([*heads, "false equation"]), "| --- " * 8 + "|"]
    for task in options.tasks:
        traces, records = chosen(task, options.most or TASKS[task])
        wrong = np.array([trace.first_wrong is not None for trace in traces])
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "chains.jsonl"
            file.write_text("".join(json.dumps(record) + "\n" for record in records))
            asked = list(ErrorDetection(str(file), prompts=2).problems().items)
        found = evaluate_policy(*loaded[:3], asked, PROMPT, SamplingConfig(), needs=("choices",), rows=options.rows)
        numbers = metrics(found, names=["error_probability"])
        nats = step_nats(loaded, traces, options.rows)
        steps = [len(trace.steps) for trace in traces]
        rule = [next((n for n, step in enumerate(trace.steps) if false_equation(step)), None) for trace in traces]
        flags = np.array([one is not None for one in rule])
        rate = constants(wrong.mean())
        by_rule = "-" if task != "multistep_arithmetic" else f"{ranked(flags, wrong)}"
        cells = [task, str(len(traces)), f"{wrong.mean():.0%}", str(numbers["error_auroc"])]
        cells += [f"{numbers['error_f1_at_half'].mean:.3f}", f"{rate['f1_always_error']:.3f}"]
        cells += [ranked([one.mean() for one in nats], wrong), ranked([one.max() for one in nats], wrong)]
        detection.append(row([*cells, ranked(steps, wrong), by_rule]))
        bad = [(trace.first_wrong, own, at) for trace, own, at in zip(traces, nats, rule, strict=True)]
        bad = [one for one in bad if one[0] is not None]
        cells = [task, str(len(bad)), share([own.argmax() == at for at, own, _ in bad])]
        cells += [share([np.diff(own, prepend=own[0]).argmax() == at for at, own, _ in bad])]
        cells += [share([at == 0 for at, _, _ in bad]), share([at == len(own) - 1 for at, own, _ in bad])]
        cells += [f"{np.mean([1 / len(own) for _, own, _ in bad]):.3f}"]
        exact = task == "multistep_arithmetic"
        location.append(row([*cells, share([by == at for at, _, by in bad]) if exact else "-"]))
        print(detection[-1], location[-1], f"{time.perf_counter() - began:.0f} s", sep="\n", flush=True)
    print("\n" + "\n".join(detection) + "\n\n" + "\n".join(location))


if __name__ == "__main__":
    main()
