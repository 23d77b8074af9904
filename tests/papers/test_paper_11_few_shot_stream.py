"""Paper 11, few-shot streams: 20 outputs of 10 ways, 4 sets and interval 2; classes change on schedule."""

import pytest

from mtjax.data.sources.few_shot_stream import FewShotStream


def test_the_outputs_of_the_paper_s_example_and_the_schedule():
    source = FewShotStream(ways=10, sets=4, change_every=2)
    assert source.outputs == 20
    assert FewShotStream(ways=10, sets=4, change_every=2, overwrite=True).outputs == 10
    _, sets = source.stream(0)
    kinds = [{kind for _, kind, _ in one} for one in sets]
    assert kinds[0] == kinds[1]
    assert kinds[2] == kinds[3]
    assert not kinds[1] & kinds[2]
    assert len({unit for one in sets for _, _, unit in one}) == 20


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_target_set_covers_the_classes_that_were_seen(overwrite):
    source = FewShotStream(ways=3, noise=0.0, overwrite=overwrite, count=6)
    questions = source.problems().items
    shown = dict(line.split("=") for line in questions[0].question.splitlines()[:-1] if line)
    asked = [question.question.splitlines()[-1][:-1] for question in questions]
    assert sorted(asked) == sorted(shown)
    assert all(shown[word] == question.answer for word, question in zip(asked, questions, strict=True))
    assert len(set(shown.values())) == source.outputs


def test_instances_are_asked_for_by_their_place():
    source = FewShotStream(ways=2, shots=2, sets=2, change_every=1, test="instance", noise=0.0, count=8)
    for number, question in enumerate(source.problems().items):
        *lines, asked = [line for line in question.question.splitlines() if line]
        assert question.answer == str(number)
        assert lines[number] == f"{asked}{number}"
