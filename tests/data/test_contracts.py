"""What every registered task and source must obey. A new one gets these tests by its registration alone."""

import dataclasses

import pytest

from mtjax.data.problem import Message, Pair, Problem, Problems
from mtjax.data.sources import SOURCES, Arithmetic, FileSource, InMemory, Mixture, Source
from mtjax.data.sources.generated import Generated
from mtjax.data.tasks import TASKS, MistakeTask, Task
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.registry import summary

FULL = Problem("p", "1 + 1 =", "2", ("It is 2.", "2"), ("It is 3.",))
PROBLEMS = [
    FULL,
    dataclasses.replace(FULL, pairs=(Pair("It ", "is 2.", "is 3.", "step", "value"),)),
    Problem("m", "hi", messages=(Message("user", "hi"), Message("assistant", "yo"))),
    Problem("empty", "1 + 1 ="),
]
GIVEN = {"mistake": {"decode_prefix": "correct"}}
"""Settings that a task has no default for."""

every_task = pytest.mark.parametrize("name", sorted(TASKS))
every_source = pytest.mark.parametrize("name", sorted(SOURCES))
file_sources = pytest.mark.parametrize("name", [name for name, cls in SOURCES.items() if issubclass(cls, FileSource)])


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("bytes")


def task_of(name):
    return TASKS[name](**GIVEN.get(name, {}))


@every_task
def test_a_task_says_what_it_is(name):
    cls = TASKS[name]
    assert issubclass(cls, Task)
    assert cls.name == name
    assert task_of(name).sides >= 1
    assert cls.needs
    assert cls.prefixes
    assert summary(cls)


@every_task
def test_training_text_starts_with_the_prompt(name, tokenizer):
    """What is decoded from is exactly what stands before the answer in training."""
    task = task_of(name)
    rendered = [text for problem in PROBLEMS for text in task.render(problem, tokenizer)]
    assert rendered
    for problem in PROBLEMS:
        texts = task.render(problem, tokenizer)
        assert len(texts) % task.sides == 0
        prompts = [task.prompt(problem, polarity, tokenizer) for polarity in task.prefixes.values()] if texts else []
        for text in [text for text in texts if text.text or not task.ragged]:  # sides of a group may be empty
            assert any(text.text[: text.prompt_end].startswith(prompt) for prompt in prompts), (text, prompts)


@every_task
def test_targets_lie_in_the_text_and_behind_the_prompt_or_are_asked_for(name, tokenizer):
    for problem in PROBLEMS:
        for text in task_of(name).render(problem, tokenizer):
            assert all(0 <= span.start <= span.end <= len(text.text) for span in text.spans)
            assert any(span.end > span.start for span in text.spans) or (TASKS[name].ragged and not text.text)
            assert 0 <= text.prompt_end <= len(text.text)
    quiet = MistakeTask(decode_prefix="correct", loss_on="rationale")
    assert all(span.start >= text.prompt_end for text in quiet.render(FULL) for span in text.spans)


@every_task
def test_renderings_have_names_of_their_own_and_are_the_same_each_time(name, tokenizer):
    task = task_of(name)
    for problem in PROBLEMS:
        first = task.render(problem, tokenizer)
        assert first == task.render(problem, tokenizer)
        names = [text.name for text in first[:: task.sides]]
        assert len(set(names)) == len(names)


@every_task
def test_a_problem_with_nothing_to_learn_gives_nothing(name, tokenizer):
    assert task_of(name).render(PROBLEMS[-1], tokenizer) == []


@every_source
def test_a_source_says_what_it_is(name):
    cls = SOURCES[name]
    assert issubclass(cls, Source)
    assert summary(cls)


def source_of(name, folder):
    """A source with at least one problem, made from its example."""
    cls = SOURCES[name]
    if issubclass(cls, FileSource):
        file = folder / "example.json"
        file.write_text(cls.example)
        return cls(path=str(file))
    made = {"arithmetic": lambda: Arithmetic(count=4), "memory": lambda: InMemory(items=(FULL,))}
    made["mixture"] = lambda: Mixture(sources=(InMemory(items=(FULL,)), Arithmetic(count=4)))
    if issubclass(cls, Generated):
        return cls(count=4)
    if name not in made:
        pytest.skip("needs a data set of another package; tests/data has tests of its own")
    return made[name]()


@every_source
def test_problems_come_in_a_fixed_order_and_the_fingerprint_follows_the_settings(name, tmp_path):
    source = source_of(name, tmp_path)
    found = source.problems()
    assert isinstance(found, Problems)
    assert len(found.items) >= 1
    assert list(found.items) == list(source.problems().items)
    assert all(problem.id and isinstance(problem, Problem) for problem in found.items)
    assert source.fingerprint() == source_of(name, tmp_path).fingerprint()
    if hasattr(source, "split"):
        assert dataclasses.replace(source, split="test").fingerprint() != source.fingerprint()


@file_sources
def test_a_file_source_names_the_place_of_a_bad_record_and_skips_it_where_asked(name, tmp_path):
    source = source_of(name, tmp_path)
    is_list = source.example.lstrip().startswith("[")
    file = tmp_path / "bad.json"
    file.write_text(source.example.rstrip()[:-1] + ", 7]" if is_list else source.example + "7\n")
    source = dataclasses.replace(source, path=str(file))
    with pytest.raises(InputError, match="bad.json") as caught:
        source.problems()
    assert any(where in str(caught.value) for where in ("bad.json:2", "record 1"))
    found = source.problems("skip")
    assert found.skipped == 1
    assert len(found.items) >= 1


@file_sources
def test_the_fingerprint_follows_the_content(name, tmp_path):
    source = source_of(name, tmp_path)
    before = source.fingerprint()
    (tmp_path / "example.json").write_text(source.example + " ")
    assert source.fingerprint() != before
