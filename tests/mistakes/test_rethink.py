"""Self-rethinking without a model: every way through the loop, its calls counted, and the block of mistakes."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.mistake_record import Mistake
from mtjax.errors import InputError
from mtjax.mistakes.injectors.base import ERROR_TYPES, in_order
from mtjax.mistakes.self_rethinking import (
    NAMES,
    BlockConfig,
    Wording,
    mistake_block,
    prompt_of,
    rethink,
    says_yes,
)
from mtjax.validation import check_types

SHORT = Wording(
    solve="solve {question}", ask="ask {mistakes} {rationale}", redo="redo {rationale}", answer="answer {rationale}"
)


def scripted(replies, asked):
    """Answers by a script: `replies[stage]` is a list that is taken from in order; counts batches."""
    taken = {stage: iter(texts) for stage, texts in replies.items()}

    def generate(prompts):
        stages = {prompt.split()[0] for prompt in prompts}
        assert len(stages) == 1  # lock step: one stage at a time
        asked.append((stages.pop(), len(prompts)))
        return [next(taken[prompt.split()[0]]) for prompt in prompts]

    return generate


@pytest.mark.parametrize(
    ("k", "replies", "rationales", "ended", "calls"),
    [
        (0, [], 1, "limit", 2),  # solve, answer
        (1, ["No"], 1, "no", 3),  # solve, ask, answer
        (1, ["Yes"], 2, "limit", 4),  # 1 + 2 * 1 + 1: solve, ask, redo, answer
        (1, ["Perhaps"], 1, "unparsable", 3),
        (3, ["yes", "no"], 2, "no", 5),  # solve, ask, redo, ask, answer
        (3, ["yes", "yes", "yes"], 4, "limit", 8),  # 1 + 2 * 3 + 1
        (3, ["yes", "", "yes"], 2, "unparsable", 5),
        (24, ["Yes."] * 24, 25, "limit", 50),  # 1 + 2 * 24 + 1
    ],
)
def test_every_way_through_by_hand(k, replies, rationales, ended, calls):
    asked = []
    texts = [f"r{n}" for n in range(rationales)]
    script = {"solve": texts[:1], "redo": texts[1:], "ask": replies, "answer": ["14"]}
    (state,) = rethink(["2 + 3"], "BLOCK", scripted(script, asked), k=k, wording=SHORT)
    assert (state.rationales, state.ended, state.answer) == (tuple(texts), ended, "14")
    assert (state.calls, len(asked)) == (calls, calls)
    assert state.rounds == rationales - 1
    assert calls == 1 + 2 * state.rounds + 1 + (ended != "limit")
    assert calls <= 2 + 2 * k


def test_an_unparsable_reply_can_count_as_yes():
    asked = []
    script = {"solve": ["a"], "ask": ["hm", "hm"], "redo": ["b", "c"], "answer": ["1"]}
    (state,) = rethink(["q"], "B", scripted(script, asked), k=2, wording=SHORT, unparsable="yes")
    assert (state.rationales, state.ended, state.calls) == (("a", "b", "c"), "limit", 6)


def test_questions_go_in_lock_step():
    asked = []
    script = {
        "solve": ["a", "b", "c"],
        "ask": ["no", "yes", "yes", "no", "yes"],  # of a b c, then of b c
        "redo": ["b2", "c2", "c3"],
        "answer": ["1", "2", "3"],
    }
    states = rethink(["qa", "qb", "qc"], "B", scripted(script, asked), k=2, wording=SHORT)
    assert asked == [("solve", 3), ("ask", 3), ("redo", 2), ("ask", 2), ("redo", 1), ("answer", 3)]
    assert [state.rationales[-1] for state in states] == ["a", "b2", "c3"]
    assert [state.ended for state in states] == ["no", "no", "limit"]
    assert [state.calls for state in states] == [3, 5, 6]
    assert sum(state.calls for state in states) == sum(number for _, number in asked)


@given(
    st.lists(st.lists(st.sampled_from(["yes", "No way", "?", "", "YES!", "Note"]), min_size=6, max_size=6), max_size=5),
    st.integers(0, 6),
    st.sampled_from(["yes", "no"]),
)
def test_alone_and_together_are_the_same_and_bounded(scripts, k, unparsable):
    """Each question has a script of its own; batches must not mix them up, whatever is said."""

    def answers(names):
        said = {name: iter(script) for name, script in zip(names, scripts, strict=False)}
        count = itertools.count()

        def generate(prompts):
            next(count)
            out = []
            for prompt in prompts:
                stage, name = prompt.split()[:2]
                out.append(next(said[name]) if stage == "ask" else f"{name} {stage}")
            return out

        return generate, count

    named = Wording(
        solve="solve {question}", ask="ask {rationale}", redo="redo {rationale}", answer="answer {rationale}"
    )
    names = [f"q{n}" for n in range(len(scripts))]
    generate, count = answers(names)
    together = rethink(names, "B", generate, k=k, wording=named, unparsable=unparsable)
    assert next(count) <= 2 + 2 * k
    alone = [rethink([n], "B", answers(names)[0], k=k, wording=named, unparsable=unparsable)[0] for n in names]
    assert together == alone
    for state in together:
        assert 2 <= state.calls <= 2 + 2 * k
        assert all(text.startswith(state.question) for text in state.rationales)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Yes", True),
        ("  yes, the same mistake", True),
        ("**No**.", False),
        ("_No_", False),
        ("NO\nYes", False),
        ("Answer: yes", None),
        ("Nobody made a mistake", None),
        ("yesterday", None),
        ("I do not see one", None),
        ("", None),
    ],
)
def test_what_counts_as_yes(reply, said):
    assert says_yes(reply) is said


def test_prompts_hold_what_they_should_and_braces_are_left():
    wording = Wording(ask="<{question}|{rationale}|{mistakes}|{other}>")
    text = prompt_of("ask", " {rationale} \\frac{1}{2}? ", " {question} {x} ", "{mistakes}!", wording)
    assert text == "<{rationale} \\frac{1}{2}?|{question} {x}|{mistakes}!|{other}>"
    for stage, words in {
        "solve": ["Q?"],
        "ask": ["Q?", "new", "B!"],
        "redo": ["Q?", "new", "B!"],
        "answer": ["Q?", "new"],
    }.items():
        text = prompt_of(stage, "Q?", "new", "B!")
        assert all(word in text for word in words)
        assert "{" not in text


def test_the_latest_rationale_is_shown():
    asked = []
    script = {"solve": ["old"], "ask": ["yes", "no"], "redo": ["new"], "answer": ["1"]}
    generate = scripted(script, asked)
    seen = []
    rethink(["q"], "B", lambda prompts: (seen.extend(prompts), generate(prompts))[1], k=2, wording=SHORT)
    assert seen == ["solve q", "ask B old", "redo old", "ask B new", "answer new"]


def test_a_generate_that_loses_replies_is_found_out():
    with pytest.raises(ValueError, match="1 replies for 2 prompts"):
        rethink(["a", "b"], "", lambda prompts: prompts[:1])
    with pytest.raises(InputError, match="k=-1"):
        rethink(["a"], "", lambda prompts: prompts, k=-1)
    assert rethink([], "", lambda prompts: prompts) == []


# The block of mistakes.


def record(number, error_type="carry", **more):
    values = {"question": f"q{number}", "right_step": f"right{number}", "wrong_step": f"wrong{number}", "answer": "14"}
    return Mistake(id=str(number), kind="solution", problem_id=f"p{number}", error_type=error_type, **(values | more))


def test_the_block_by_hand():
    mistake = record(1, before="14", after="24", wrong_answer="24")
    assert mistake_block([mistake]) == (
        "Kinds of mistakes that solutions of such questions have:\n\n"
        "1. Carry slip. A carry or a borrow between two digits is forgotten.\n"
        'Example: "24" was written where "14" is right.\n'
        "Question: q1\nWrong solution:\nwrong1\nRight solution:\nright1"
    )
    only_types = BlockConfig(demonstration=False, wrong=False, right=False)
    assert mistake_block([mistake], only_types).endswith(
        "\n\n1. " + ". ".join((NAMES["carry"][0].capitalize(), NAMES["carry"][1]))
    )
    step = Mistake(id="s", kind="step", problem_id="p", question="q", wrong_step="2 = 3", right_step="2 = 2")
    assert '"2 = 3" was written where "2 = 2" is right' in mistake_block([step])
    assert '"9" was written where "14" is right' in mistake_block([record(1, wrong_answer="9")])


def test_the_draw_depends_on_the_seed_and_not_on_the_order():
    records = [record(n, in_order()[n % 5]) for n in range(50)]
    config = BlockConfig(types=2, per_type=3)
    block = mistake_block(records, config)
    shuffled = records[:]
    random.Random(1).shuffle(shuffled)
    assert mistake_block(shuffled, config) == block
    assert block.count("Question: ") == 6
    assert len({mistake_block(records, BlockConfig(types=2, per_type=3, seed=seed)) for seed in range(5)}) > 3
    firsts = {
        mistake_block(records, BlockConfig(types=1, seed=seed)).split("1. ")[1].split(".")[0] for seed in range(40)
    }
    assert len(firsts) == 5  # every type comes


def test_what_cannot_be_shown_is_passed_over():
    bad = [record(1, verdict="refuted"), record(2, wrong_step="x" * 1001), record(3, right_step="")]
    assert "q4" in mistake_block([*bad, record(4)], BlockConfig(per_type=9))
    assert mistake_block([*bad, record(4)], BlockConfig(per_type=9)).count("Question") == 1
    with pytest.raises(InputError, match="no mistake record can be shown"):
        mistake_block(bad)
    assert "q3" in mistake_block(bad, BlockConfig(right=False))
    for name in ("types", "per_type", "longest"):
        with pytest.raises(InputError, match=f"block.{name}=0: expected at least 1"):
            check_types(BlockConfig(**{name: 0}), "block")


def test_every_error_type_has_a_name():
    assert set(NAMES) == {*ERROR_TYPES, "other"}
    assert "Rounding error. " in mistake_block([record(1, "rounding_error")])  # a type of another package
