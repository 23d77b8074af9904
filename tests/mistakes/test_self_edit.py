"""RISE's self-editing: instructions, what is offered, how it is put back, and the run through the filters."""

from collections import Counter

import pytest

from mtjax.data.mistake_record import Mistake
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import CompletionTask, PairTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.mistakes.injection import InjectConfig, Rules, outcome
from mtjax.mistakes.self_edit import (
    FENCE,
    PREFILL,
    QUIET,
    Editor,
    local_editor,
    mistakes_of,
    offered,
    parse_edit,
    requests_of,
    types_for,
)
from mtjax.runs.loading import Loaded

PROBLEM = Problem(
    "p", "Ann has 48 pens and gives half away, then gets 3. How many?", "27",
    ("Step 1: Half is 48/2 = 24.\nStep 2: Then 24 + 3 = 27 pens.\nAnswer: 27",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("48/2 = 24", ["value_series", "substitution", "dropped_term", "operator", "swap"]),
        ("x = 4", ["value", "substitution", "dropped_term", "operator", "swap"]),
        ("x = y", ["substitution", "dropped_term", "operator", "swap"]),
        ("there are 4 and 5", ["value_series"]),
        ("there are 4", ["value"]),
        ("there are some", ["misread"]),
    ],
)
def test_types_by_digits_and_equals_sign(text, types):
    assert list(types_for(text)) == types


def test_types_are_drawn_uniformly():
    problem = Problem("p", "q", "24", ("48/2 = 24\n#### 24",))
    drawn = Counter(requests_of(problem, seed)[0].type for seed in range(2000))
    assert set(drawn) == {"value_series", "substitution", "dropped_term", "operator", "swap"}
    assert all(abs(n / 2000 - 0.2) < 0.04 for n in drawn.values())  # 4.5 standard deviations


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ("One is 1.", "One is 1."),
        (" A. B. C. D. E. ", "B. C. D. E."),
        ("a\nb\nc\nd\ne", "b\nc\nd\ne"),
        ("It costs 2.5 each. So 2.5 * 2 = 5.", "It costs 2.5 each. So 2.5 * 2 = 5."),  # no sentence ends within 2.5
        ("", ""),
        ("  \n ", ""),
    ],
)
def test_the_last_four_sentences_are_offered(step, text):
    start, end = offered(step)
    assert step[start:end] == text


def test_the_request_has_three_fenced_blocks_and_a_prefill():
    problem = Problem("p", "How many?", "24", ("Step 1: 48/2 = 24\nAnswer: 24",))
    (request,) = requests_of(problem, 1)
    blocks = request.user.split(FENCE)
    assert [block.strip() for block in blocks[1::2]] == ["How many?", "Step 1:", "48/2 = 24"]
    assert [block.strip().rstrip(":") for block in blocks[0:5:2]] == ["Question", "Initial answer", "Current step"]
    assert request.user.endswith(QUIET)
    assert PREFILL.endswith(FENCE + "\n")
    assert PREFILL.count(FENCE) == 1


def test_the_output_is_read_up_to_the_closing_fence():
    assert parse_edit("48/2 = 25\n```\nI made it wrong.") == "48/2 = 25"
    assert parse_edit("48/2 = 25") is None
    assert parse_edit("\n```") is None


def test_an_edit_goes_where_its_text_stood_even_if_it_stands_there_twice():
    (request,) = requests_of(Problem("p", "q", "24", ("48/2 = 24. X. Y. Z. 48/2 = 24.",)), 0)
    assert request.start > 0
    step = request.solution.text
    edit = step[request.start : request.end].replace("24", "25")
    assert request.put_in_place(edit) == "48/2 = 24. X. Y. Z. 48/2 = 25."


def run(outputs, **rules):
    asked = requests_of(PROBLEM, 0)
    edits = Editor(lambda prompts: outputs[: len(prompts)], {}).edits(asked)
    yields = {}
    kept = list(
        mistakes_of(PROBLEM, asked, edits, Rules(**rules), yields, {"model": "m", "decode": {"temperature": 0.0}})
    )
    total = sum(yields.values(), Counter())
    return kept, total


def test_edits_become_mistakes_with_proof():
    asked = requests_of(PROBLEM, 0)
    assert [one.user.split(FENCE)[5].strip() for one in asked] == [
        "Half is 48/2 = 24.",
        "Then 24 + 3 = 27 pens.",
    ]
    assert requests_of(PROBLEM, 0) == asked
    kept, total = run(["Half is 48/2 = 26.\n```", "Then 24 + 3 = 28 pens.\n```"], per_problem=2)
    assert [m.wrong_step for m in kept] == [" Half is 48/2 = 26.", " Then 24 + 3 = 28 pens."]
    assert kept[0].wrong_rest == "\nStep 2: Then 26 + 3 = 29 pens.\nAnswer: 29"
    assert (kept[0].verdict, kept[0].judge, kept[0].generator) == ("proved", "equation", "self_edit")
    assert (kept[0].model, kept[0].decode) == ("m", {"temperature": 0.0})
    assert kept[0].prefix + kept[0].right_step + kept[0].right_rest == PROBLEM.right[0]
    assert total["kept"] == 2
    assert len(run(["Half is 48/2 = 26.\n```", "Then 24 + 3 = 28 pens.\n```"])[0]) == 1


@pytest.mark.parametrize(
    ("output", "outcome"),
    [
        ("Half is 48/2 = 26.", "unparsed"),
        ("Half is 48/2 = 24.\n```", "identical"),
        ("Half is mistakenly 48/2 = 26.\n```", "tell_tale"),
        ("Half is 48/2 is 24.\n```", "unproved"),
        ("Half is 48/2 = \\boxed{26.\n```", "unparsed"),
    ],
)
def test_each_filter_counts_what_it_takes(output, outcome):
    kept, total = run([output, "Then 24 + 3 = 28 pens.\n```"], per_problem=2)
    assert [m.wrong_step for m in kept] == [" Then 24 + 3 = 28 pens."]
    assert total[outcome] == 1
    assert total["made"] == 2


def test_edits_that_are_too_far_or_still_right():
    assert run(["Half is 48/2 = 26.\n```", "Then 3 + 24 = 27 pens.\n```"], per_problem=2)[1]["refuted"] == 1
    kept, total = run(["Half is 48/2 = 26.\n```", "Then 24 - 3 + 100 = 28 pens.\n```"], per_problem=2, alpha=3)
    assert (len(kept), total["too_far"]) == (1, 1)


def test_an_edit_that_loses_the_box_is_unboxed_on_both_sides_and_described_as_it_then_reads():
    right = "Half is 48/2 = \\boxed{24}."
    mistake = Mistake(
        id="a", kind="step", problem_id="p", question="q", right_step=right, wrong_step="Half is 48/2 = 26.",
        span=(15, 17), before="\\boxed{24}", after="26", edit_distance=9,
    )  # fmt: skip
    verdict, found = outcome(mistake, None)
    assert (verdict, found.right_step, found.wrong_step) == ("proved", "Half is 48/2 = 24.", "Half is 48/2 = 26.")
    assert (found.span, found.before, found.after, found.edit_distance) == ((15, 17), "24", "26", 1)


def test_problems_without_a_right_solution_ask_nothing():
    assert requests_of(Problem("p", "q", "1"), 0) == []
    assert len(requests_of(PROBLEM, 0, steps=1)) == 1


@pytest.mark.parametrize(
    ("task", "asked"),
    [
        (None, "user: U\nassistant: "),
        (PairTask(template="chat", system="Be brief."), "system: Be brief.\nuser: U\nassistant: "),
        (CompletionTask(template="Q: {question}\n"), "Q: U\n"),
    ],
)
def test_a_run_is_asked_for_edits_as_it_was_trained(task, asked):
    loaded = Loaded(None, None, load_tokenizer("bytes"), task=task)
    settings = InjectConfig(source=InMemory((PROBLEM,)), output="x", model="m", editor="self_edit")
    editor = local_editor(loaded, "f", settings)
    assert editor.render("U") == asked + PREFILL
    assert ("read" in editor.about["decode"]) == (task is not None)  # what was edited before keeps its key
