"""The contract of a selection, for every registered one, and selections in a data configuration."""

import dataclasses
import json

import numpy as np
import pytest

from mtjax.data.batches import DataConfig, fingerprint_of, make_batches
from mtjax.data.messages import Message
from mtjax.data.problem import Problem
from mtjax.data.selection import SELECTIONS, Decontaminate, Deduplicate, Selection
from mtjax.data.selection.acquire import Acquire
from mtjax.data.selection.decontaminate import ngrams
from mtjax.data.selection.hardness import Hardness
from mtjax.data.selection.kshot import KShot
from mtjax.data.selection.learnable import Learnable, learnability
from mtjax.data.selection.unflagged import Unflagged
from mtjax.data.sources import InMemory
from mtjax.data.tasks import CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

QUESTIONS = ("3 + 4 =", "3 - 4 =", "How many?", "how  many", "3 + 4", "", "?", "", " ".join(map(str, range(20))))
PROBLEMS = [Problem(f"p{n}", question, "1", ("1",)) for n, question in enumerate(QUESTIONS)]
TEST_SET = InMemory(
    (Problem("t", " ".join(map(str, range(2, 30))), "1", ("1",)), Problem("u", "how many", "1", ("1",)))
)
EXAMPLES = {
    "deduplicate": Deduplicate(),
    "decontaminate": Decontaminate(TEST_SET),
    "hardness": Hardness("question_words", 4.0),
    "kshot": KShot(TEST_SET, number=3),
    "learnable": Learnable("scores.jsonl"),
    "unflagged": Unflagged("flags.jsonl"),
    "acquire": Acquire(("solutions.jsonl",), budget=2),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_the_contract(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scores = "".join(f'{{"problem": "p{n}", "score": {n % 4}}}\n' for n in range(8))
    (tmp_path / "scores.jsonl").write_text(scores)
    (tmp_path / "flags.jsonl").write_text('{"check": "labels", "id": "p2", "fix": "drop"}\n')
    solution = '{"schema": 1, "number": %d, "id": "p%d", "question": "q", "answer": "1", "solutions": [%s]}\n'
    texts = [f'{{"text": "the answer is {k}", "verdict": "wrong"}}' for k in range(4)]
    lines = "".join(solution % (n, n, ", ".join(texts[: n % 4 + 1])) for n in range(6))
    (tmp_path / "solutions.jsonl").write_text(lines)
    selection = EXAMPLES[name]
    assert isinstance(selection, Selection)
    kept, notes = selection(PROBLEMS, 3)
    assert kept == selection(PROBLEMS, 3).items  # the same key gives the same result
    assert selection(kept, 3) == (kept, ())  # idempotent, and nothing to report the second time
    assert kept == [problem for problem in PROBLEMS if problem in kept]  # order kept, nothing added
    assert f"{name} dropped {len(PROBLEMS) - len(kept)} of {len(PROBLEMS)} problems" in notes[0]
    assert selection([], 3).items == []
    assert selection.fingerprint() == selection.fingerprint()


def test_deduplicate_by_hand():
    assert [p.id for p in Deduplicate()(PROBLEMS, 0).items] == ["p0", "p1", "p2", "p4", "p5", "p6", "p8"]


def talk(*texts):
    return tuple(Message(role, text) for role, text in zip(("user", "assistant") * 3, texts, strict=False))


def test_conversations_count_whole_and_records_without_a_question_by_their_text():
    """Many conversations begin alike, and a plain text has no question."""
    problems = [
        Problem("a", "Hello", messages=talk("Hello", "Hi", "2 + 3?", "5")),
        Problem("b", "Hello", messages=talk("Hello", "Hi", "6 + 1?", "7")),
        Problem("c", "Hello", "5", ("five",), messages=talk("hello", "Hi", "2 + 3?")),  # the context of a
        Problem("d", "", right=("A text.",)),
        Problem("e", "", right=("Another text.",)),
        Problem("f", "", right=("a text",)),
    ]
    assert [p.id for p in Deduplicate()(problems, 0).items] == ["a", "b", "d", "e"]
    test_set = InMemory((problems[2], problems[4]))
    assert [p.id for p in Decontaminate(test_set)(problems, 0).items] == ["b", "d", "f"]


def test_decontaminate_by_hand():
    assert [p.id for p in Decontaminate(TEST_SET)(PROBLEMS, 0).items] == ["p0", "p1", "p4", "p5", "p6", "p7"]
    assert "p8" in [p.id for p in Decontaminate(TEST_SET, words=19)(PROBLEMS, 0).items]
    assert list(ngrams("One two.", 13)) == [("one", "two")]
    assert Decontaminate(TEST_SET).fingerprint() != Decontaminate(TEST_SET, words=12).fingerprint()
    assert Decontaminate(TEST_SET).fingerprint() != Decontaminate(InMemory((PROBLEMS[0],))).fingerprint()
    with pytest.raises(InputError, match="words=0: expected at least 1"):
        Decontaminate(TEST_SET, words=0)


def test_hard_but_learnable_by_hand(tmp_path):
    # Cross-entropies 1, 4, 2, 6, of which the last is hopeless: the median of 1, 4, 2, 0, or of 1, 4, 2.
    nll, top = np.array([1.0, 4.0, 2.0, 6.0]), np.array([True, True, True, False])
    assert learnability(nll, top) == 1.5
    assert learnability(nll, top, "dropped") == 2.0
    assert np.isnan(learnability(nll, np.zeros(4, bool)))
    file = tmp_path / "scores.jsonl"
    scores = [("p0", 1.0), ("p1", 3.0), ("p1", 2.0), ("p2", None), ("p3", 2.0)]
    file.write_text("".join(f'{{"problem": "{name}", "score": {json.dumps(score)}}}\n' for name, score in scores))
    keep = lambda share: [p.id for p in Learnable(str(file), share)(PROBLEMS[:5], 0).items]
    assert keep(0.5) == ["p1", "p3"]  # of four problems in the file, those of mean 2.5 and 2
    assert keep(0.25) == ["p1"]
    assert keep(0.75) == ["p0", "p1", "p3"]
    assert keep(1.0) == ["p0", "p1", "p2", "p3", "p4"]
    with pytest.raises(InputError, match="no problem has a score"):
        Learnable(str(file))(PROBLEMS[5:], 0)
    with pytest.raises(InputError, match=r"share=0: expected a share"):
        Learnable(str(file), 0)
    file.write_text('{"problem": "p0"}\n')
    with pytest.raises(InputError, match=r"scores.jsonl:1: got .*python -m mtjax.score"):
        keep(0.5)


def test_selections_of_a_data_configuration():
    tokenizer = load_tokenizer("bytes")
    plain = DataConfig(source=InMemory(tuple(PROBLEMS)), task=CompletionTask(), sequence_length=128)
    config = dataclasses.replace(plain, selections=(Deduplicate(), Decontaminate(TEST_SET)))
    batches = make_batches(config, tokenizer, batch_size=1, seed=0)
    assert [name.split("/")[0] for name in batches.ids] == ["p0", "p1", "p4", "p5", "p6"]
    assert len(batches.report.notes) == 2
    prints = {fingerprint_of(dataclasses.replace(plain, selections=chosen)) for chosen in ((), (Deduplicate(),))}
    assert len(prints | {fingerprint_of(config)}) == 3
    assert fingerprint_of(plain) in prints
    some = InMemory(tuple(PROBLEMS[:5]))
    all_gone = dataclasses.replace(plain, source=some, selections=(Decontaminate(some),))
    with pytest.raises(InputError, match="data.selections leave no problem"):
        make_batches(all_gone, tokenizer, batch_size=1, seed=0)
    with pytest.raises(InputError, match="expected selections"):
        fingerprint_of(dataclasses.replace(plain, selections=("deduplicate",)))
