"""Paper 7, CodeGen2: spans put back give the text, the mixture is even, and no span leaves its text."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks.infill import InfillTask, Marks, corrupted, draw_spans, restored
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError


def test_the_layout():
    marks = Marks("<mask_{n}>", "<|endoftext|><sep>", "<eom>")
    text = corrupted(["def f(x):", " return", " x", " + 1"], [(1, 3)], marks)
    assert text == "def f(x):<mask_1> + 1<|endoftext|><sep><mask_1> return x<eom>"
    assert restored(text, marks) == "def f(x): return x + 1"
    assert text.startswith(InfillTask().infill_prompt("def f(x):", " + 1"))


def test_the_mixture_and_the_way_back():
    task, text, cut = InfillTask(), "a = 1\nb = a + 2\nprint(b * b)\n", 0
    for number in range(2000):
        (one,) = task.render(Problem(f"file{number}", "", right=(text,)))
        assert restored(one.text[one.prompt_end :], task.marks) == text
        cut += int(one.extras["infill"])
    assert abs(cut / 2000 - 0.5) < 0.02


@given(st.integers(2, 60), st.floats(0.01, 1.0), st.integers(1, 9), st.integers(0, 99))
def test_spans_are_apart_and_cover_the_ratio(size, ratio, number, seed):
    spans = draw_spans(size, ratio, number, random.Random(seed))
    covered = [place for start, end in spans for place in range(start, end)]
    assert covered == sorted(set(covered))
    assert len(covered) == min(max(1, round(ratio * size)), size - 1)
    assert all(first[1] < second[0] for first, second in itertools.pairwise(spans))
    assert 1 <= len(spans) <= number


def test_no_span_crosses_a_text_of_a_packed_row():
    marks = {"mask": "<{n}>", "sep": "|", "eom": "."}
    source = InMemory(tuple(Problem(f"p{n}", "", right=(f"abc{n} def{n} ghi{n}",)) for n in range(40)))
    data = DataConfig(source=source, task=InfillTask(**marks), sequence_length=128, max_segments=8)
    batches = make_batches(data, tokenizer := load_tokenizer("bytes"), batch_size=4, seed=0, repeat=False)
    seen = []
    for step in range(batches.steps_per_epoch):
        batch = batches.batch_at(step)
        for row, segments in zip(batch.tokens, batch.segments, strict=True):
            for number in range(1, segments.max() + 1):
                own = row[segments == number][1:]  # without the begin token
                text = tokenizer.decode([token for token in own if token != tokenizer.end_id])
                seen.append(restored(text, InfillTask(**marks).marks))
                assert ("|" in text) == ("<1>" in text)
    assert sorted(seen) == sorted(problem.right[0] for problem in source.items)


def test_targets_without_sentinels_and_refusals():
    task = InfillTask(mask="<{n}>", sep="|", eom=".", share=1.0, sentinels=False)
    (one,) = task.render(Problem("p", "Q", right=("abcdefgh",)), load_tokenizer("bytes"))
    targets = "".join(one.text[start:end] for start, end, _ in one.spans)
    assert sorted(targets) == list("abcdefgh")
    with pytest.raises(InputError, match="'<7>' in a text is a sentinel"):
        task.render(Problem("p", "Q", right=("a <7>",)))
    for settings in ({"mask": "<m>"}, {"sep": "<eom>"}, {"least": 0.6}, {"template": "chat"}):
        with pytest.raises(InputError):
            InfillTask(**settings)
