"""What the data report says of small, long and faulty data, and what of it is refused."""

import json

import numpy as np
import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.problem import Message, Problem
from mtjax.data.sources import InMemory, Jsonl, Mixture
from mtjax.data.tasks import ChatTask, CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

BYTES = load_tokenizer("bytes")
QA = CompletionTask(template="{question}\n")


def made(source, batch_size=1, task=QA, seed=0, repeat=True, **settings):
    source = InMemory(tuple(source)) if isinstance(source, list) else source
    settings = {"sequence_length": 32} | settings
    config = DataConfig(source=source, task=task, **settings)
    return make_batches(config, BYTES, batch_size=batch_size, seed=seed, repeat=repeat)


def problems(count, size=1):
    return [Problem(f"p{number}", "q", right=("a" * size,)) for number in range(count)]


def test_a_row_that_fills_a_batch_with_copies_is_refused_with_ways_out_that_work():
    with pytest.raises(
        InputError, match="1 rows stand 32 times each in one batch of 32, more than data.max_repeats=8"
    ) as caught:
        made(problems(3), batch_size=32)
    assert "--batch_size=8)" in str(caught.value)
    assert "--data.max_repeats=32" in str(caught.value)
    assert made(problems(3), batch_size=8).report.rows == 1
    one = made(problems(3), batch_size=32, max_repeats=32)
    assert str(one.report).endswith("; one epoch is 0.03125 steps, each row 32 times in a batch")
    assert one.seen_at(1) == {"data/epoch": 64.0, "data/repeats": 32.0}
    assert made(problems(3), batch_size=32, repeat=False).report.rows == 1  # one pass for evaluation is filled up


def test_epochs_and_repeats_by_hand():
    # 6 rows of one example, 4 a batch: an epoch is 1.5 steps, and a batch within one epoch holds no row twice.
    some = made(problems(6), batch_size=4, pack=False)
    assert str(some.report).endswith("; one epoch is 1.5 steps")
    assert some.seen_at(0) == {"data/epoch": pytest.approx(4 / 6), "data/repeats": 1.0}
    assert some.seen_at(2)["data/epoch"] == 2.0


def test_a_mixture_that_repeats_one_record_is_refused():
    mixture = Mixture(sources=(InMemory(tuple(problems(400))), InMemory(tuple(problems(1)))), weights=(0.5, 0.5))
    with pytest.raises(InputError, match=r"1 rows of source 1 stand 80 times each in one batch of 160.*smaller weight"):
        made(mixture, batch_size=160, pack=False)
    fine = made(mixture, batch_size=4, pack=False)
    assert fine.report.epochs == "one epoch of each source is 200, 0.5 steps"
    counts = [fine.seen_at(step)["data/repeats"] for step in range(50)]
    assert np.mean(counts) == pytest.approx(2, abs=0.4)  # half of 4 rows is the one record


def test_lengths_stand_where_examples_are_dropped_and_most_dropped_stops():
    # "q\n", the answer, begin and end: 4 tokens more than the answer.
    data = [*problems(6, 8), *problems(3, 46), *problems(1, 96)]
    report = made(data).report
    assert report.counts.dropped == 4
    (note,) = (note for note in report.notes if "sequence_length" in note)
    assert note.startswith("4 examples are longer than data.sequence_length=32 (median 12 tokens, 90 % up to 55, ")
    assert "longest 100): set data.sequence_length=100 to keep all, 55 to keep 90 %" in note
    with pytest.raises(InputError, match=r"7 of 10 examples are dropped.*max_dropped=0.5.*longest 100.*max_dropped=1"):
        made([*problems(3, 8), *problems(6, 46), *problems(1, 96)])
    assert made([*problems(3, 8), *problems(6, 46), *problems(1, 96)], max_dropped=1.0).report.examples == 3


def test_left_truncation_keeps_the_system_message():
    turns = (Message("system", "be brief"), Message("user", "x" * 60), Message("assistant", "yes"))
    problem = Problem("p", "x", messages=turns)
    rows = made([problem], task=ChatTask(), sequence_length=60, truncation="left")
    text = BYTES.decode([token for token in rows.batch_at(0).tokens[0] if token < 256])
    assert text.startswith("system: be brief\n")
    assert text.endswith("x\nassistant: yes")
    with pytest.raises(InputError, match="data.sequence_length=20"):  # the system message and the answer do not fit
        made([problem], task=ChatTask(), sequence_length=20, truncation="left")


def templated(template):
    from transformers import PreTrainedTokenizerFast

    from mtjax.data import tokenizer as tk

    fast = PreTrainedTokenizerFast(tokenizer_object=tk.bytes_tokenizer(), eos_token="<|end|>", chat_template=template)
    return tk._from_transformers("templated", fast)


@pytest.mark.parametrize(
    ("opening", "kept"),
    [
        (
            "{% if messages[0].role != 'system' %}system: be kind<|end|>\n{% endif %}",
            "system: be kind<|end|>\n",
        ),  # Qwen2.5
        ("", ""),
    ],
)
def test_left_truncation_keeps_the_system_message_that_a_template_writes_by_itself(opening, kept):
    tokenizer = templated(opening + "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>\n{% endfor %}")
    turns = (Message("user", "x" * 60), Message("assistant", "yes"))
    config = DataConfig(
        source=InMemory((Problem("p", "x", messages=turns),)),
        task=ChatTask(),
        sequence_length=48,
        truncation="left",
    )
    rows = make_batches(config, tokenizer, batch_size=1, seed=0)
    text = tokenizer.decode(rows.batch_at(0).tokens[0][rows.batch_at(0).segments[0] > 0])
    assert text.startswith(kept + "x" if kept else "x")
    assert text.endswith("x<|end|>\nassistant: yes<|end|>")


def test_rows_that_max_segments_leaves_empty_are_said_with_the_number_to_set():
    data = problems(300, 2)  # 6 tokens; 8 segments fill 48 of 128
    report = made(data, sequence_length=128).report
    (note,) = (note for note in report.notes if "max_segments" in note)
    assert note.startswith("data.max_segments=8 fills rows before their length does; data.max_segments=21 would fill")
    assert not any("max_segments" in note for note in made(data, sequence_length=128, max_segments=21).report.notes)


def test_max_segments_is_chosen_by_the_lengths():
    auto = made(problems(300, 2), sequence_length=128, max_segments="auto")  # 21 of 6 tokens fill a row
    (note,) = (note for note in auto.report.notes if "max_segments" in note)
    assert note == "data.max_segments=auto takes up to 24 examples in a row"
    assert auto.report.rows == 15  # 300 / 21, rounded up
    assert auto.batch_at(0).extras["segment_id"].shape[-1] == 24
    fixed = made(problems(300, 2), sequence_length=128, max_segments=24)
    assert auto.ids_at(3) == fixed.ids_at(3)
    assert auto.made_of == fixed.made_of
    assert (
        made(problems(300, 50), sequence_length=128, max_segments="auto").batch_at(0).extras["segment_id"].shape[-1]
        == 8
    )


FAULTS = [
    {"id": "good", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]},
    {"id": "bad", "messages": [{"role": "assistant", "content": "first"}, {"role": "user", "content": "hi"}]},
]


def strict():
    from transformers import PreTrainedTokenizerFast

    from mtjax.data import tokenizer as tk

    template = (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.content }}<|end|>{% endfor %}"
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tk.bytes_tokenizer(), eos_token="<|end|>", chat_template=template)
    return tk._from_transformers("strict", fast)


def test_a_fault_of_rendering_names_file_line_and_id_and_is_skipped_where_asked(tmp_path):
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in FAULTS))
    config = DataConfig(source=Jsonl(str(file)), task=ChatTask(), sequence_length=32)
    with pytest.raises(
        InputError, match=r"chats.jsonl:2 \(id 'bad'\): the chat template.*must alternate.*on_error=skip"
    ):
        make_batches(config, strict(), batch_size=1, seed=0)
    config = DataConfig(source=Jsonl(str(file)), task=ChatTask(), sequence_length=32, on_error="skip")
    report = make_batches(config, strict(), batch_size=1, seed=0).report
    assert (report.examples, report.counts.skipped) == (1, 1)
    assert any("1 records skipped that cannot be rendered; the first" in note for note in report.notes)


def test_a_task_that_fails_names_the_record():
    class Broken(CompletionTask):
        def render(self, problem, tokenizer=None):
            return [problem.right[7]]

    with pytest.raises(InputError, match="p0: the task 'completion' fails on this record .IndexError"):
        made(problems(1), task=Broken())
