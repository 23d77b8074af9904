"""Pairs: the rendering by hand, what both sides share, and packing in two rows."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.packing import best_fit
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks.pair import PairTask, choose_pairs, unboxed
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

BYTES = load_tokenizer("bytes")
STEP = Pair("Step 1: ", "ab", "abc", "step")
FULL = Pair("", " yes ", "no")


def batches(problems, task=None, **settings):
    settings = {"sequence_length": 26, "max_segments": 4} | settings
    config = DataConfig(source=InMemory(tuple(problems)), task=task or PairTask(template="{question}\n"), **settings)
    return make_batches(config, BYTES, batch_size=settings.pop("batch_size", 1), seed=0)


def text(tokens):
    """Begin, end and padding as ^, $ and _."""
    return "".join(chr(token) if token < 256 else "_^$"[token - 256] for token in tokens)


def test_a_step_pair_and_a_full_pair_by_hand():
    # Two pairs of one problem share a row: the longer one first. Step sides have no end token.
    made = batches([Problem("p", "q", pairs=(STEP, FULL))], PairTask(template="{question}\n", strip=True))
    batch = made.batch_at(0)
    assert batch.tokens.shape == (1, 2, 26)
    chosen, rejected = batch.tokens[0]
    assert text(chosen) == "^q\nStep 1: ab" + "^q\nyes$" + "_" * 6
    assert text(rejected) == "^q\nStep 1: abc" + "^q\nno$" + "_" * 6
    assert batch.segments[0].tolist() == [[1] * 13 + [2] * 7 + [0] * 6, [1] * 14 + [2] * 6 + [0] * 6]
    assert batch.weights[0, 0].tolist() == [0] * 11 + [1] * 2 + [0] * 3 + [1] * 4 + [0] * 6
    assert batch.weights[0, 1].tolist() == [0] * 11 + [1] * 3 + [0] * 3 + [1] * 3 + [0] * 6
    extras = batch.extras
    assert extras["segment_kind"][0].tolist() == [[1, 0, 0, 0]] * 2
    assert extras["segment_polarity"][0].tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert extras["segment_id"][0].tolist() == [[1, 0, -1, -1]] * 2  # full pairs are named first
    assert made.ids_at(0) == ["p/step/0", "p/full/0"]


def test_nothing_is_trained_in_front_of_the_context_end_and_the_end_token_can_be_left_out():
    made = batches([Problem("p", "q", pairs=(FULL,))], PairTask(template="{question}\n", end="none"))
    assert text(made.batch_at(0).tokens[0, 0]).rstrip("_") == "^q\n yes "


def test_identical_pairs_are_dropped_and_counted():
    same = Pair("", "yes ", " yes")
    made = batches([Problem("p", "q", pairs=(same, FULL))], PairTask(full_per_problem=None, strip=True))
    assert (made.report.examples, made.report.counts.identical) == (1, 1)
    with pytest.raises(InputError, match="both sides of every pair are the same"):
        batches([Problem("p", "q", pairs=(same,))], PairTask(strip=True))


def test_full_pairs_are_every_right_with_every_wrong_and_the_choice_is_the_problem_s():
    problem = Problem("p", "q", right=("a", "b"), wrong=("c", "d"), pairs=(FULL, STEP))
    named = choose_pairs(problem, None, None)
    assert [name for name, _ in named] == ["full/0", "full/1", "full/2", "full/3", "full/4", "step/0"]
    assert {(pair.chosen, pair.rejected) for _, pair in named[1:5]} == set(itertools.product("ab", "cd"))
    assert choose_pairs(problem, 2, 0) == choose_pairs(problem, 2, 0)
    assert set(choose_pairs(problem, 2, 0)) < set(named)
    first = {choose_pairs(Problem(f"p{i}", "q", right=("a",), wrong=("c", "d")), 1, 0)[0][0] for i in range(20)}
    assert first == {"full/0", "full/1"}


def test_boxes_are_unwrapped_on_both_sides_or_on_none():
    assert unboxed(r"a \boxed{1} \boxed{ {2} } \boxed{3") == r"a 1  {2}  \boxed{3"
    assert unboxed(r"\boxed{\boxed{1}}") == "1"
    pair = Pair("", r"so \boxed{1}", r"so \boxed{2}")
    made = batches([Problem("p", "q", pairs=(pair,))], PairTask(template="{question}\n", unbox=True))
    assert [text(side).rstrip("_") for side in made.batch_at(0).tokens[0]] == ["^q\nso 1$", "^q\nso 2$"]


def test_left_truncation_cuts_both_sides_alike():
    pair = Pair("0123456789", "ab", "cdef", "step")
    made = batches([Problem("p", "question", pairs=(pair,))], sequence_length=13, truncation="left")
    chosen, rejected = made.batch_at(0).tokens[0]
    assert text(rejected) == "^23456789cdef"
    assert text(chosen) == "^23456789ab" + "_" * 2
    assert made.report.counts.truncated == 1


def test_sides_fill_up_apart():
    # Each side holds 10. Longest first: (8, 2) opens a row; (2, 8) fits beside it on both sides; (5, 5) does not.
    assert best_fit(np.array([[2, 8], [5, 5], [8, 2]]), row_length=10, max_segments=4) == [[0, 2], [1]]


def test_no_pair_at_all_says_what_is_missing():
    with pytest.raises(InputError, match="needs pairs, or both right and wrong solutions"):
        batches([Problem("p", "q", right=("a",))])
    with pytest.raises(InputError, match="both 0"):
        PairTask(full_per_problem=0, step_per_problem=0)


def test_the_preference_record_of_trl_is_a_pair():
    made = batches([{"prompt": "q", "chosen": "yes", "rejected": "no"}])
    assert made.ids_at(0) == ["memory[0]/full/0"]


def test_a_cached_index_of_pairs_gives_the_same_batches(tmp_path):
    problems = [Problem("p", "q", pairs=(STEP, FULL))]
    first, again = (batches(problems, cache_dir=str(tmp_path)).batch_at(3) for _ in range(2))
    for name in ("segment_kind", "segment_id"):
        assert np.array_equal(first.extras[name], again.extras[name])
    assert np.array_equal(first.tokens, again.tokens)


def test_packed_pairs_waste_little():
    # Right and wrong solutions of 2 to 6 steps each: sides differ in length, and rows of 1,024 even that out.
    problems = []
    for n in range(400):
        steps = [f"Step {k}: {n} + {k} = {n + k}\n" for k in range(1, 7)]
        right, wrong = "".join(steps[: 2 + n % 5]), "".join(steps[: 2 + n // 5 % 5]) + "So what?"
        step = Pair(steps[0], steps[1], steps[1].replace("=", "= 1"), "step")
        problems.append(Problem(f"p{n}", f"{n} and more", right=(right,), wrong=(wrong,), pairs=(step,)))
    made = batches(problems, sequence_length=1024, max_segments=None)
    assert made.report.examples == 800
    sides = np.array([made.batch_at(n).segments > 0 for n in range(made.steps_per_epoch)]).sum(axis=(0, 1, 3))
    assert sides.sum() == made.report.tokens
    # No packing needs fewer rows than the fuller side fills; ours is within a tenth of that.
    assert made.report.rows <= 1.1 * np.ceil(sides.max() / 1024)


PACKING = """
import sys
import numpy as np
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.tasks.pair import PairTask
from mtjax.data.tasks.base import QUESTION_ANSWER
from mtjax.data.sources import Gsm8kSolutions, Mistakes, Mixture
from mtjax.data.tokenizer import load_tokenizer
from mtjax.inject import run
from mtjax.mistakes.injection import InjectConfig

path, folder = sys.argv[1:]
solutions = Gsm8kSolutions(path, "train")
assert run(InjectConfig(source=solutions, output=folder, leak=False)) == 0
mix = Mixture((Mistakes(folder + "/mistakes.jsonl"), solutions))
for source, limit, steps in ((mix, 0.1, 0.5), (solutions, 0.12, 0)):
    task = PairTask(template=QUESTION_ANSWER)
    data = DataConfig(source=source, task=task, sequence_length=1024, boundary="allow")
    made = make_batches(data, load_tokenizer("smollm2"), batch_size=8, seed=0, repeat=False)
    seen = [made.batch_at(step) for step in range(made.steps_per_epoch)]
    rows = np.concatenate([batch.segments[batch.segments.any(axis=(1, 2))] for batch in seen])
    assert abs(np.mean(rows == 0) - (1 - made.report.packing_efficiency)) < 1e-9
    assert np.mean(rows == 0) < limit
    there = np.concatenate([batch.extras["segment_id"].ravel() for batch in seen]) >= 0
    kind = np.concatenate([batch.extras["segment_kind"].ravel() for batch in seen])[there]
    assert kind.mean() >= steps and (kind == 0).any()
"""


@pytest.mark.slow
def test_pairs_of_real_solutions_waste_little_of_their_rows(tmp_path, shared_data):
    """The claim: RISE's mix, at least one step pair per full pair, wastes under 10 % at 1,024 tokens; full pairs 12 %.

    Measured 3.3 % and 4.4 %; what is counted is what the run's `data` line tells. A process of its own, since checks of
    every call at run time make injection thirty times as slow.
    """
    path = str(shared_data / "gsm8k" / "example_model_solutions.jsonl")
    done = subprocess.run([sys.executable, "-c", PACKING, path, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
