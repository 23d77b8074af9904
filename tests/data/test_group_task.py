"""Groups: a record to a batch by hand, recorded tokens and log-probs, missing rewards, chat, and packing."""

import dataclasses

import numpy as np
import pytest

from mtjax.data.advantages.baselines import Centered
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.formats import FORMATS, Reader
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import GroupTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

BYTES = load_tokenizer("bytes")
END = BYTES.end_id
RECORD = {
    "prompt": "q",
    "completions": ["ab", "c", "d"],
    "rewards": [2.0, 0.0, 1.0],
    "completion_ids": [[97, 98, END], [99, END], [100, END]],
    "logprobs": [[-1.0, -2.0, -3.0], [-0.5, -0.25], [-4.0, -5.0]],
    "proposal_logprobs": [[-0.1, -0.2, -0.3], [-0.05, -0.025], [-0.4, -0.5]],
    "numbers": {"judge": [0.5, 0.25, 1.0]},
}


def read(**changes):
    return Reader("auto").read(RECORD | changes, "a.jsonl:7", "p")


def task(**settings):
    return GroupTask(**{"template": "{question}\n", "size": 3, "advantage": Centered()} | settings)


def batches(problems, own, **settings):
    settings = {"sequence_length": 12, "max_segments": 2} | settings
    return make_batches(DataConfig(source=InMemory(tuple(problems)), task=own, **settings), BYTES, batch_size=1, seed=0)


def text(tokens):
    """Begin, end and padding as ^, $ and _."""
    return "".join(chr(token) if token < 256 else "_^$"[token - 256] for token in tokens)


def test_a_record_becomes_a_batch_by_hand(tmp_path):
    made = batches([read()], task(logprobs="own"), cache_dir=str(tmp_path))
    batch = made.batch_at(0)
    assert [text(side) for side in batch.tokens[0]] == ["^q\nab$______", "^q\nc$_______", "^q\nd$_______"]
    assert batch.weights[0].tolist() == [[0] * 3 + [1] * n + [0] * (9 - n) for n in (3, 2, 2)]
    assert batch.segments[0].tolist() == [[1] * n + [0] * (12 - n) for n in (6, 5, 5)]
    assert batch.extras["sampled_logprob"].dtype == np.float32
    assert batch.extras["sampled_logprob"][0, :, 3:6].tolist() == [[-1, -2, -3], [-0.5, -0.25, 0], [-4, -5, 0]]
    first = {name: x[0, :, 0].tolist() for name, x in batch.extras.items() if name.startswith("segment_")}
    assert first["segment_reward"] == [2, 0, 1]
    assert first["segment_advantage"] == [1, -1, 0]  # less the mean of 1
    assert first["segment_polarity"] == [1, 0, 1]
    np.testing.assert_allclose(first["segment_success_rate"], [2 / 3] * 3)
    assert first["segment_judge"] == [0.5, 0.25, 1.0]
    assert first["segment_finished"] == [1, 1, 1]
    assert first["segment_id"] == [0, 0, 0]
    assert made.ids_at(0) == ["p/group/0"]
    proposal = batches([read()], task(logprobs="proposal")).batch_at(0).extras["sampled_logprob"]
    np.testing.assert_allclose(proposal[0, 0, 3:6], [-0.1, -0.2, -0.3])


def test_a_reward_that_is_not_known_leaves_its_candidate_out_and_larger_groups_are_several_examples():
    made = batches([read(rewards=[2.0, None, 1.0])], task(size=2)).batch_at(0)
    assert [text(side).rstrip("_") for side in made.tokens[0]] == ["^q\nab$", "^q\nd$"]
    assert made.extras["segment_advantage"][0, :, 0].tolist() == [0.5, -0.5]
    two = batches([read()], task(size=2), max_segments=1)
    texts = {name: two.batch_at(step) for step in range(2) for name in two.ids_at(step)}
    assert sorted(texts) == ["p/group/0", "p/group/1"]
    last = texts["p/group/1"]
    assert [text(side).rstrip("_") for side in last.tokens[0]] == ["^q\nd$", "^"]
    assert last.weights[0, 1].tolist() == [0] * 12
    assert last.extras["segment_advantage"][0, :, 0].tolist() == [0, 0]  # compared with all three
    assert last.extras["segment_success_rate"][0, 0, 0] == pytest.approx(2 / 3)


def test_a_cut_candidate_is_compared_but_not_trained_unless_it_is_asked_for():
    record = read(finished=[True, False, True], completion_ids=[[97, 98, END], [99, 99], [100, END]])
    dropped = batches([record], task(logprobs="own")).batch_at(0)
    assert dropped.weights[0].sum(axis=-1).tolist() == [3, 0, 2]
    assert dropped.extras["segment_advantage"][0, :, 0].tolist() == [1, 0, 0]
    kept = batches([read(finished=[True, False, True])], task(cut="keep")).batch_at(0)
    assert text(kept.tokens[0, 1]).rstrip("_") == "^q\nc"  # without an end token
    assert kept.extras["segment_finished"][0, :, 0].tolist() == [1, 0, 1]


def test_right_and_wrong_solutions_are_a_group_and_nothing_to_compare_is_none():
    made = task().render(Problem("p", "q", right=("a",), wrong=("b", "c")), BYTES)
    assert [(one.text, one.extras["reward"]) for one in made] == [("q\na", 1), ("q\nb", 0), ("q\nc", 0)]
    assert task().render(Problem("p", "q", right=("a",)), BYTES) == []
    equal = Problem("p", "q", right=("a", "b"))
    assert [one.extras.get("advantage") for one in task().render(equal, BYTES)] == [0, 0, None]
    assert task(equal="drop").render(equal, BYTES) == []


def test_drawn_tokens_are_trained_as_they_are_and_checked():
    """A tokenizer may spell the text otherwise; the recorded log-probs belong to the tokens that were drawn."""
    tokenizer = load_tokenizer("arithmetic")
    whole = tokenizer.encode("1 + 2 = 3").ids
    record = read(
        completions=["1 + 2 = 3", "4", "5"],
        completion_ids=None,
        proposal_logprobs=None,
        logprobs=[[-1.0] * n for n in (9, 2, 2)],
    )
    record = dataclasses.replace(record, question="3 + 4 =")
    config = DataConfig(source=InMemory((record,)), task=task(logprobs="own"), sequence_length=24, max_segments=1)
    with pytest.raises(InputError, match=rf"9 recorded sampled_logprob for {len(whole) + 1} tokens of the answer"):
        make_batches(config, tokenizer, batch_size=1, seed=0)
    with pytest.raises(InputError, match="its recorded tokens decode to 'zz', and its text is 'c'.*another tokenizer"):
        batches([read(completion_ids=[[97, 98, END], [122, 122], [100, END]])], task(logprobs="own"))
    with pytest.raises(InputError, match="a candidate has no proposal_logprobs.*data.task.logprobs=none"):
        batches([read(proposal_logprobs=None)], task(logprobs="proposal"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logprobs": [[-1.0], [-1.0, -1.0], [-1.0, -1.0]]}, r"completion 0 has .*one number for each token"),
        ({"rewards": [1, "x", 0]}, r"rewards\[1\] is 'x'; expected a number, or null"),
        ({"completion_ids": [[97.5], [1], [2]]}, r"completion_ids\[0\] is .*expected a list of token ids"),
        ({"numbers": {"reward": [1, 2, 3]}}, "numbers has the name 'reward'"),
        ({"numbers": {"judge": [1]}}, r"numbers\['judge'\] is \[1\]; expected a number for each completion"),
        ({"finished": [True]}, "3 completions and 1 finished"),
    ],
)
def test_a_wrong_record_is_refused_with_its_place(changes, message):
    with pytest.raises(InputError, match=f"a.jsonl:7: {message}"):
        read(**changes)


def test_a_group_is_written_as_it_was_read_and_may_follow_a_conversation():
    (record,) = FORMATS["group"]().write(read(), 0)
    assert record == {"id": "p"} | RECORD
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    spoken = read(prompt=talk, tools=[{"type": "function", "function": {"name": "add"}}])
    assert FORMATS["group"]().write(spoken, 0)[0]["prompt"] == talk
    with pytest.raises(InputError, match=r"data\.task\.template=chat"):
        batches([spoken], task())


def test_a_group_in_a_chat_template():
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    chat = task(template="chat")
    found = batches([read(prompt=talk)], chat, sequence_length=64).batch_at(0)
    prompt = chat.prompt(read(prompt=talk), None, BYTES)
    for side, said in zip(found.tokens[0], RECORD["completions"], strict=True):
        ids = side[side != BYTES.pad_id].tolist()
        assert BYTES.decode(ids).removeprefix("<|bos|>").startswith(prompt + said)
    weights = found.weights[0].sum(axis=-1).tolist()
    assert weights[0] == weights[1] + 1  # one character more, and the same end of turn
    drawn = batches([read(prompt=talk)], task(template="chat", logprobs="own"), sequence_length=64).batch_at(0)
    assert drawn.weights[0].sum(axis=-1).tolist() == [3, 2, 2]


def test_sides_fill_up_apart_and_every_candidate_stands_once():
    problems = [Problem(f"p{n}", "q", right=("a" * (1 + n % 5), "b"), wrong=("c" * (1 + n % 7),)) for n in range(40)]
    made = batches(problems, task(), sequence_length=64, max_segments=12)
    seen = [made.batch_at(step) for step in range(made.steps_per_epoch)]
    assert sum(int((batch.extras["segment_id"][:, 0] >= 0).sum()) for batch in seen) == 40
    for batch in seen:
        for row in range(len(batch.tokens)):
            numbers = [np.unique(side[side > 0]).tolist() for side in batch.segments[row]]
            assert numbers[0] == numbers[1] == numbers[2]


def test_only_what_follows_the_marker_is_trained():
    """SaySelf's second stage: reasoning and answer get no policy gradient; a text without the marker gets it whole."""
    texts = ["4 so: 1\nSO: 7", "no marker", " so:"]
    ids = [[*map(ord, one), END] for one in texts]
    logprobs = [[-1.0] * len(one) for one in ids]
    for known in (True, False):
        drawn = {"completion_ids": ids, "logprobs": logprobs} if known else {"completion_ids": None, "logprobs": None}
        made = read(completions=texts, proposal_logprobs=None, **drawn)
        own = task(logprobs="own" if known else "none", after="so:")
        batch = batches([made], own, sequence_length=24).batch_at(0)
        sides = zip(batch.tokens[0], batch.weights[0], strict=True)
        assert [text(tokens[weights > 0]) for tokens, weights in sides] == [" 7$", "no marker$", "$"]
        if known:
            carried = batch.extras["sampled_logprob"][0]
            assert (carried != 0).sum(axis=-1).tolist() == [len(one) for one in ids]
