"""Curations: what becomes of graded attempts, worked by hand, and what must hold for every registered one."""

import dataclasses

import pytest

from mtjax.data.problem import Pair, Problem
from mtjax.data.sources.mined import Mined, MinedProblem, Solution
from mtjax.data.tasks import TASKS
from mtjax.errors import InputError
from mtjax.mistakes.curation import CURATIONS, Attempted, Helpers
from mtjax.mistakes.curation.base import Traced
from mtjax.mistakes.curation.both import Both
from mtjax.mistakes.curation.confidence import StatedConfidence, confidence_of
from mtjax.mistakes.curation.distinct import Distinct
from mtjax.mistakes.curation.groups import Groups
from mtjax.mistakes.curation.injected import Injected
from mtjax.mistakes.curation.pairs import Pairs, partner
from mtjax.mistakes.curation.partly_right import Buffers, PartlyRight, grown
from mtjax.mistakes.curation.right_only import RightOnly, cap_of, distinct_by_equations
from mtjax.mistakes.curation.sureness import REFUSALS, Sureness, answer_entropy
from mtjax.mistakes.curation.tailored import Tailored
from mtjax.mistakes.curation.valued import Valued
from mtjax.registry import summary
from mtjax.sampling.teacher import Teacher

SUM = Problem("sum", "2 + 3 + 4 =", "9", right=("Step 1: 2 + 3 = 5\nStep 2: 5 + 4 = 9\nAnswer: 9",))
RIGHT = "Step 1: 2 + 3 = 5\nStep 2: 5 + 4 = 9\nAnswer: 9"
OTHER = "Step 1: 3 + 4 = 7\nStep 2: 2 + 7 = 9\nAnswer: 9"
NEAR = "Step 1: 2 + 3 = 5\nStep 2: 5 + 4 = 8\nAnswer: 8"
FAR = "Step 1: 2 + 3 = 6\nStep 2: 6 + 4 = 11\nAnswer: 11"


def one(text, verdict, **more):
    return Solution(text=text, verdict=verdict, **more)


def attempted(problem, *solutions):
    drawn = sum(solution.count for solution in solutions)
    about = {"id": problem.id, "question": problem.question, "answer": problem.answer}
    return Attempted(problem, MinedProblem(number=0, drawn=drawn, solutions=solutions, **about))


MIXED = attempted(SUM, one(RIGHT, "right", count=2), one(FAR, "wrong"), one(OTHER, "right"), one(NEAR, "wrong"))
SOLVED = attempted(dataclasses.replace(SUM, id="solved"), one(RIGHT, "right", count=4))
FAILED = attempted(dataclasses.replace(SUM, id="failed"), one(FAR, "wrong", count=3), one("?", "unknown"))
CUT = attempted(dataclasses.replace(SUM, id="cut"), one("Step 1: 2 +", "wrong", finished=False), one(RIGHT, "right"))
ALL = [MIXED, SOLVED, FAILED, CUT]
HELP = Helpers(seed=3, ask=lambda texts: ["```"] * len(texts), trace=lambda problem, text: [])
every_curation = pytest.mark.parametrize("name", sorted(CURATIONS))


@every_curation
def test_a_curation_says_what_it_is_repeats_itself_and_takes_an_empty_round(name):
    curation = CURATIONS[name]()
    assert summary(CURATIONS[name])
    assert all(task in TASKS for task in curation.tasks)
    first, again = (curation(ALL, None, HELP) for _ in range(2))
    assert first == again
    assert len({problem.id for problem in first.problems}) == len(first.problems)
    assert all(isinstance(count, int) for count in first.counts.values())
    empty = curation([], first.kept, HELP)
    assert curation.stateful == (first.kept is not None)
    assert curation.stateful or empty.problems == []


@pytest.mark.parametrize("name", sorted(set(CURATIONS) - {"sureness"}))
def test_no_curation_trains_on_the_solutions_of_the_source(name):
    """A source's own solution would be a target that the policy did not find; some ask for it."""
    curation = CURATIONS[name](**({"with_source": False} if hasattr(CURATIONS[name], "with_source") else {}))
    made = curation([FAILED], None, HELP).problems
    assert not any(problem.right for problem in made)


def test_right_only_caps_by_problem_and_by_difficulty():
    made = RightOnly(per_problem=None)(ALL, None, HELP)
    assert [(problem.id, len(problem.right)) for problem in made.problems] == [("sum", 2), ("solved", 1), ("cut", 1)]
    assert made.counts == {"right texts": 4}
    assert made.problems[0].success_rate == pytest.approx(3 / 5)
    assert len(RightOnly(per_problem=1)([MIXED], None, HELP).problems[0].right) == 1
    assert [cap_of(4, True, rate) for rate in (0.0, 0.25, 0.5, 0.75, 1.0)] == [4, 3, 2, 1, 1]
    below = RightOnly(solved_below=0.9)(ALL, None, HELP)
    assert [problem.id for problem in below.problems] == ["sum", "cut"]


def test_the_cap_draws_by_the_rounds_seed():
    texts = [RIGHT + " " * n for n in range(6)]
    many = attempted(SUM, *(one(f"{text}.", "right") for text in texts))
    taken = {RightOnly(per_problem=2)([many], None, Helpers(seed, HELP.ask)).problems[0].right for seed in range(8)}
    assert len(taken) > 1
    assert all(len(right) == 2 for right in taken)


def test_equal_equations_are_one_solution_and_another_order_is_another():
    again = RIGHT.replace("Step 1: ", "Firstly ").replace("Step 2: ", "then ")
    assert [s.text for s in distinct_by_equations([one(RIGHT, "right"), one(again, "right"), one(OTHER, "right")])] == [
        RIGHT,
        OTHER,
    ]


def test_both_sides_and_mixed_problems_only():
    made = Both()(ALL, None, HELP)
    assert [(p.id, len(p.right), len(p.wrong)) for p in made.problems] == [
        ("sum", 2, 2), ("solved", 1, 0), ("failed", 0, 1), ("cut", 1, 0),
    ]  # fmt: skip
    assert [p.id for p in Both(mixed_only=True)(ALL, None, HELP).problems] == ["sum"]
    assert [len(p.wrong) for p in Both(cut="wrong")([CUT], None, HELP).problems] == [1]


def test_every_right_solution_is_paired_with_the_nearest_wrong_one():
    made = Pairs()(ALL, None, HELP)
    assert [problem.id for problem in made.problems] == ["sum"]
    assert made.problems[0].pairs == (Pair("", RIGHT, NEAR), Pair("", OTHER, NEAR))  # FAR is farther from both
    assert made.counts == {"pairs": 2}
    wrong = [one("a", "wrong", logprob=-9.0, tokens=3), one("b", "wrong", logprob=-9.0, tokens=9), one("c", "wrong")]
    assert partner(one("x", "right"), wrong, "likeliest").text == "b"  # -1 a token against -3


def test_groups_hold_every_sample_with_its_tokens_and_reward():
    drawn = {"token_ids": (5, 6), "token_logprobs": (-0.5, -0.1), "proposal_logprobs": (-0.4, -0.1)}
    group = attempted(
        SUM, one("9", "right", count=2, **drawn), one("8", "wrong", reward=0.3), one("?", "unknown"),
        one("long", "wrong", finished=False),
    )  # fmt: skip
    (problem,) = Groups()([group], None, HELP).problems
    assert [c.reward for c in problem.candidates] == [1.0, 1.0, 0.3, None, 0.0]
    assert problem.candidates[0].ids == (5, 6)
    assert problem.candidates[0].logprobs == (-0.5, -0.1)
    assert [c.finished for c in problem.candidates] == [True] * 4 + [False]
    assert Groups(cut_reward=None)([group], None, HELP).problems[0].candidates[-1].reward is None
    assert Groups()([SOLVED], None, HELP).counts == {"groups": 1, "equal groups": 1}
    assert Groups(mixed_only=True)([SOLVED], None, HELP).problems == []


def test_the_buffer_grows_over_rounds_and_refuses_detours():
    first = Distinct()([attempted(SUM, one(OTHER, "right"))], None, HELP)
    assert first.problems[0].right == (RIGHT, OTHER)  # that of the source, and the one that was found
    assert first.counts == {"added": 1, "kept": 2}
    again = Distinct()([attempted(SUM, one(OTHER + " ", "right"), one(RIGHT, "right"))], first.kept, HELP)
    assert again.counts == {"added": 0, "kept": 2}
    elsewhere = attempted(dataclasses.replace(SUM, id="b", right=()), one(RIGHT, "right"))
    both = Distinct()([elsewhere], first.kept, HELP)
    assert [problem.id for problem in both.problems] == ["sum", "b"]
    assert [problem.id for problem in Distinct(of_all=False)([elsewhere], first.kept, HELP).problems] == ["b"]
    detour = one(f"Let me see.\n{RIGHT}", "right")
    assert Distinct(longer=0)([attempted(SUM, detour)], None, HELP).counts["added"] == 0
    assert Distinct(longer=1)([attempted(SUM, detour)], None, HELP).counts["added"] == 1


def test_planted_errors_are_proved_and_stand_beside_full_pairs():
    made = Injected()(ALL, None, HELP)
    (problem,) = made.problems
    step, *full = problem.pairs
    assert step.kind == "step"
    assert step.error_type
    assert full == list(Pairs()([MIXED], None, HELP).problems[0].pairs)
    assert Injected(full=False)(ALL, None, HELP).counts == {"step pairs": 1, "pairs": 0}
    assert len(Injected(mixed_only=False, full=False)(ALL, None, HELP).problems) == 3


def test_the_policy_edits_its_own_steps():
    asked = []

    def ask(texts):
        asked.extend(texts)
        return ["Step 9: 5 + 4 = 7\n```"] * len(texts)

    made = Injected(editor="self_edit", full=False)([MIXED], None, Helpers(3, ask))
    assert len(asked) == 2  # the two steps of one solution
    assert all("Edited step:\n```" in text for text in asked)
    assert all(pair.kind == "step" for problem in made.problems for pair in problem.pairs)


def test_settings_are_checked():
    with pytest.raises(InputError, match="per_problem=0"):
        RightOnly(per_problem=0)
    with pytest.raises(InputError, match="solved_below"):
        RightOnly(solved_below=1.5)


def test_r_tuning_keeps_the_right_answer_and_only_the_last_word_differs():
    assert answer_entropy([6, 3, 1]) == pytest.approx(0.8979457249, abs=1e-10)
    made = Sureness(question="Sure?")([MIXED, FAILED], None, HELP)
    assert [problem.right for problem in made.problems] == [("9. Sure? I am sure.",), ("9. Sure? I am unsure.",)]
    assert made.counts == {"sure": 1, "unsure": 1}
    refused = Sureness(variant="refuse")([MIXED, FAILED], None, HELP).problems
    assert refused[0].right == ("9",)
    assert refused[1].right[0] in REFUSALS
    whole = Sureness(target="solution", question="")([SOLVED], None, HELP).problems[0].right[0]
    assert whole == f"{RIGHT}. I am sure."
    with pytest.raises(InputError, match="problem sum has no solution to teach"):
        Sureness(target="solution")([MIXED._replace(problem=dataclasses.replace(SUM, right=()))], None, HELP)


def test_r_tuning_without_verdicts_splits_by_the_entropy_of_answers():
    agree = attempted(SUM, one("9", "unknown", answer="9", count=10))
    differ = attempted(dataclasses.replace(SUM, id="d"), *(one(str(n), "unknown", answer=str(n)) for n in range(5)))
    some = attempted(dataclasses.replace(SUM, id="s"), one("9", "unknown", answer="9", count=3), one("?", "unknown"))
    split = lambda share: Sureness(split="entropy", unsure_share=share).sure([differ, agree, some], 0)
    assert split(1 / 3) == [False, True, True]
    assert split(2 / 3) == [False, True, False]
    assert split(0.0) == [True] * 3


def test_stated_confidence_is_the_share_of_right_samples():
    assert [confidence_of(n, 100) for n in (80, 5, 4, 95, 100)] == [8, 1, 0, 10, 10]
    made = StatedConfidence()(ALL, None, HELP)
    assert [problem.id for problem in made.problems] == ["sum", "solved", "cut"]
    assert [problem.right[0].splitlines()[-1] for problem in made.problems] == [
        "Confidence: 6", "Confidence: 10", "Confidence: 5",  # 3 of 5, 4 of 4 and 1 of 2
    ]  # fmt: skip
    asked = []
    ask = lambda texts: asked.extend(texts) or ["I do not know\nhow to carry."] * len(texts)
    reflected = StatedConfidence(reflect=True)([SOLVED], None, Helpers(3, ask)).problems[0].right[0]
    assert reflected == f"{RIGHT}\nSelf-reflection: I do not know how to carry.\nConfidence: 10"
    assert SUM.question in asked[0]


def test_values_of_a_tree_reach_the_task_as_candidates():
    first = "Step 1: 2 + 3 = 5\n"
    right = one(f"{first}Answer: 5", "right", steps=(first, "Answer: 5"), step_values=(0.4, 1.0))
    first = "Step 1: 2 + 3 = 6\n"
    wrong = one(f"{first}Answer: 6 ", "wrong", steps=(first, "Answer: 6 "), step_values=(0.4, -1.0))
    plain = one("Answer: 7", "wrong")
    made = Valued()([attempted(SUM, right, wrong, plain)], None, HELP)
    assert made.counts == {"right texts": 1, "wrong texts": 2, "step values": 4}
    found = {
        "Step 1: 2 + 3 = 5\nAnswer: 5": (1.0, (0.4, 1.0)),
        "Step 1: 2 + 3 = 6\nAnswer: 6": (0.0, (0.4, -1.0)),
        "Answer: 7": (0.0, (-1.0,)),
    }
    mined = Mined(path="").problem_of(attempted(SUM, right, wrong, plain).mined)
    for problem in (made.problems[0], mined):  # in a round, and from its file of attempts
        rendered = TASKS["step_values"]().render(problem)
        assert {one.text.partition("\n")[2]: (one.extras["polarity"], one.values) for one in rendered} == found
    (one_each,) = Valued(per_side=1)([attempted(SUM, right, wrong, plain)], None, HELP).problems
    assert len((*one_each.candidates, *one_each.right, *one_each.wrong)) == 2
    cut = one(
        "\nStep 1: 5\nEnd", "right", steps=("\nSt", "ep 1: 5\n", "En", "d", "\n"), step_values=(0.1, 0.2, 0.3, 0.4, 1.0)
    )
    assert (Valued().candidate(cut).steps, Valued().candidate(cut).values) == (("Step 1: 5", "End"), (0.2, 1.0))
    ended = one("Step 1: 5\n", "wrong", steps=("Step 1: 5\n", ""), step_values=(0.2, -1.0))
    assert (Valued().candidate(ended).steps, Valued().candidate(ended).values) == (("Step 1: 5",), (-1.0,))


def test_the_teacher_is_asked_about_what_was_failed_and_its_wrong_answers_are_dropped():
    asked = []

    def teach(teacher, requests):
        assert teacher == Teacher(url="http://host")
        asked.extend(requests)
        return ["Tailored.\nAnswer: 9 " if "11" in request else "Answer: 10" for request in requests]

    tailored = Tailored(teacher=Teacher(url="http://host"), ask_about=2, pool_right=3, pool_wrong=2)
    help_ = HELP._replace(teach=teach)
    first = tailored([MIXED, SOLVED, CUT], None, help_)
    assert len(asked) == 2
    assert all("2 + 3 + 4 =" in request and "The right answer is 9" in request for request in asked)
    assert [FAR in asked[0] or FAR in asked[1], NEAR in asked[0] or NEAR in asked[1]] == [True, True]
    (problem,) = first.problems  # SOLVED has no wrong sample, and CUT's is no solution
    assert problem.right == ("Tailored.\nAnswer: 9", RIGHT)  # the source's own solution is the first teacher's
    assert problem.wrong == (FAR, NEAR)
    assert first.counts == {"failed problems": 1, "asked of the teacher": 2, "tailored texts": 1}
    later = attempted(SUM, one("Answer: 11", "wrong"))
    second = tailored([later], first.kept, help_._replace(teach=lambda teacher, requests: ["New.\nAnswer: 9"]))
    assert second.problems[0].right == ("New.\nAnswer: 9", "Tailored.\nAnswer: 9", RIGHT)
    assert second.problems[0].wrong == ("Answer: 11", FAR)
    assert tailored([SOLVED], first.kept, help_).problems == []
    alone = Tailored()([MIXED], None, HELP)
    assert (alone.problems[0].right, alone.counts["asked of the teacher"]) == (SUM.right, 0)
    with pytest.raises(InputError, match=r"wording has no \{wrong\}"):
        Tailored(wording="{question}")
    with pytest.raises(InputError, match="works in mtjax.rounds"):
        tailored([MIXED], None, HELP)


def test_what_stands_in_a_question_is_not_filled_in_again():
    odd = attempted(dataclasses.replace(SUM, question="Why {wrong}?"), one(FAR, "wrong"))
    text = Tailored(wording="{question}|{wrong}").request(odd, odd.mined.solutions[0])
    assert text == f"Why {{wrong}}?|{FAR}"


def program(*statements):
    """A program that assigns values: `a=1` a value, `!4` the answer, which is right where it is 9."""
    traced, values = [], []
    for text in statements:
        values = sorted([*values, text.partition("=")[2] or text[1:]])
        traced.append(Traced(text, tuple(values), None if "=" in text else text == "!9"))
    return traced


def test_beginnings_that_reach_a_known_state_are_partly_right():
    """Renamed variables, prefixes both ways, longer ways and wrong ends, as in section 7 of the specification."""
    start = grown(Buffers(), program("a=4", "b=5", "!9"), 0)
    assert start == Buffers((("a=4", "b=5", "!9"),), (), {("4",): 1, ("4", "5"): 2})
    renamed = grown(start, program("x=4", "y=7", "!11"), 0)
    assert renamed.partial == (("x=4",),)  # the wrong end keeps the good beginning
    swapped = grown(renamed, program("x=4", "y=5", "z=1", "!10"), 0)
    assert swapped.partial == (("x=4", "y=5"),)  # the stored beginning of it went
    assert grown(swapped, program("x=4", "q=2"), 0) is swapped  # a beginning of what is stored
    assert grown(start, program("a=4", "b=6"), 0) is start  # a beginning of a right program
    detour = program("p=4", "p=4;", "q=5", "!9")
    assert grown(start, detour, 0).full == start.full
    assert grown(start, detour, 1).full == (*start.full, ("p=4", "p=4;", "q=5", "!9"))
    assert grown(start, detour, None).full == grown(start, detour, 1).full
    assert grown(start, program("a=4", "b=5", "!9"), 0) is start
    other = grown(swapped, program("x=4", "y=5", "!9"), 0)
    assert (len(other.full), other.partial) == (2, ())
    assert grown(start, [Traced("pass", (), None)], 0) is start  # an empty state is no state
    assert grown(start, [], 0) is start


def test_partly_right_programs_are_targets_without_an_end():
    traces = {"known": program("a=4", "b=5", "!9"), "begun": program("x=4", "!1"), "lost": program("x=3")}
    asked = attempted(dataclasses.replace(SUM, right=("known",)), one("begun", "wrong"), one("lost", "wrong"))
    made = PartlyRight()([asked], None, HELP._replace(trace=lambda problem, text: traces[text]))
    assert made.counts == {"right programs": 1, "partly right programs": 1}
    candidates = made.problems[0].candidates
    assert [(c.text, c.finished) for c in candidates] == [("a=4\nb=5\n!9", True), ("x=4\n", False)]
    rendered = TASKS["group"](cut="keep", size=2).render(made.problems[0])
    assert [TASKS["group"](cut="keep").ends(one.extras) for one in rendered] == [True, False]
    begin = lambda seed, **own: PartlyRight(**own).beginning(made.kept, asked.problem, seed)
    assert {begin(seed) for seed in range(20)} == {"", "x=4\n"}
    assert begin(0) == begin(0)
    assert {begin(seed, go_on=False) for seed in range(20)} == {""}
    assert PartlyRight().beginning(None, asked.problem, 0) == ""
    with pytest.raises(InputError, match="set grader:program_answer"):
        PartlyRight()([asked], None, HELP._replace(trace=None))
