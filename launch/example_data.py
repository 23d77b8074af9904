"""Fetch GSM8K into data/gsm8k, for the configs of real models; without a network, make a stand-in of the same format.

`python launch/example_data.py [FOLDER] [--offline]`, or `make example-data`. Files that exist are kept. The stand-in
has word problems of a few sentences, generated from a fixed seed: every command and config runs on it, but a score on
it says nothing about GSM8K.

Data: Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021 (arXiv 2110.14168), MIT licence.
"""

import argparse
import json
import pathlib
import random
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from mtjax.data.sources.gsm8k import Gsm8k, Gsm8kSolutions
from mtjax.io.files import atomic_file

ADDRESS = "https://raw.githubusercontent.com/openai/grade-school-math/master/grade_school_math/data/"
NAMES = ("Amara", "Ben", "Chloe", "Diego", "Elif", "Farid", "Grace", "Hiro", "Ines", "Jonas")
THINGS = ("apples", "books", "candles", "eggs", "marbles", "pencils", "stamps", "tickets")

Steps = list[tuple[str, int, str, int]]  # for each step its sentence, with `{}` for the equation, and `a op b`


def _problem(draw: random.Random) -> tuple[str, Steps]:
    """A question and its steps; the number of a step is the first operand of the next."""
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    bags, each, had, gave, price = (draw.randint(low, high) for low, high in ((2, 9), (6, 12), (5, 60), (1, 5), (2, 9)))
    question = f"{name} buys {bags} bags of {each} {thing}."
    steps: Steps = [(f"The bags hold {{}} {thing}.", bags, "*", each)]
    total = bags * each
    if draw.random() < 0.7:
        question += f" {name} already had {had} {thing}."
        steps.append((f"Together with the others there are {{}} {thing}.", total, "+", had))
        total += had
    if draw.random() < 0.7:
        question += f" {name} gives {gave} of them to a friend."
        steps.append((f"After the gift {{}} {thing} are left.", total, "-", gave))
        total -= gave
    if draw.random() < 0.5:
        steps.append(("They bring {} dollars.", total, "*", price))
        return question + f" The rest is sold for {price} dollars a piece. How many dollars does {name} get?", steps
    return question + f" How many {thing} does {name} have now?", steps


def _solve(steps: Steps, slip: Callable[[int], int]) -> tuple[list[str], int]:
    """The lines of a solution, in which the result of step n is changed by `slip(n)`, and its final number."""
    lines, result = [], 0
    for number, (sentence, first, sign, second) in enumerate(steps):
        first = result if number else first
        result = {"*": first * second, "+": first + second, "-": first - second}[sign] + slip(number)
        lines.append(sentence.format(f"{first} {sign} {second} = <<{first}{sign}{second}={result}>>{result}"))
    return lines, result


def _human(draw: random.Random) -> dict[str, Any]:
    question, steps = _problem(draw)
    lines, result = _solve(steps, lambda _: 0)
    return {"question": question, "answer": "\n".join([*lines, f"#### {result}"])}


def _sampled(draw: random.Random) -> dict[str, Any]:
    question, steps = _problem(draw)
    lines, truth = _solve(steps, lambda _: 0)
    record: dict[str, Any] = {"question": question, "ground_truth": "\n".join([*lines, f"A: {truth}"])}
    for model in ("stand_in_a", "stand_in_b", "stand_in_c"):
        wrong = draw.randrange(len(steps)) if draw.random() < 0.5 else -1
        amount = draw.choice((-2, -1, 1, 2, 10))
        lines, result = _solve(steps, lambda number, at=wrong, by=amount: by if number == at else 0)
        text = "\n".join([*lines, f"A: {result}"])
        record[model] = {"is_correct": result == truth, "solution": text}
    return record


FILES: dict[str, tuple[type, Callable[[random.Random], dict[str, Any]], int]] = {
    "train.jsonl": (Gsm8k, _human, 2000),
    "test.jsonl": (Gsm8k, _human, 500),
    "example_model_solutions.jsonl": (Gsm8kSolutions, _sampled, 1000),
}
"""The source that reads each file, and how its stand-in is made: a record, and how many."""


def stand_in(name: str) -> Iterator[str]:
    """The lines of a generated file; the same on every machine."""
    _, record, count = FILES[name]
    draw = random.Random(name)
    for _ in range(count):
        yield json.dumps(record(draw)) + "\n"


def main() -> int:
    """Write the files that are missing; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=pathlib.Path("data/gsm8k"))
    parser.add_argument("--offline", action="store_true", help="make the stand-in without trying the network")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, (source, _, _) in FILES.items():
        file = options.folder / name
        if file.exists():
            print(f"{file} exists")
            continue
        text, origin = "", "generated stand-in, not GSM8K"
        if not options.offline:
            try:
                with urllib.request.urlopen(ADDRESS + name, timeout=20) as reply:
                    text, origin = reply.read().decode(), ADDRESS + name
            except (urllib.error.URLError, TimeoutError, UnicodeDecodeError) as error:
                print(f"{ADDRESS + name} cannot be read ({error}); making a stand-in")
        with atomic_file(file) as unfinished:
            unfinished.write_text(text or "".join(stand_in(name)))
            count = len(source(str(unfinished)).problems().items)
        print(f"{file}: {count} problems ({origin})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
