"""Paper 51, Qwen2.5: sizes of the report, and pairs of own samples. Parity is in tests/model/test_parity.py."""

import pytest

from mtjax.model.sizes import count_params, size
from tests.mistakes.test_curation import ALL, HELP, NEAR, OTHER, RIGHT, Pairs
from tests.model.test_parity import FIXTURES


@pytest.mark.parametrize(("name", "count"), [("qwen2.5-0.5b", 494_032_768), ("qwen2.5-7b", 7_615_616_512)])
def test_the_number_of_parameters(name, count):
    assert count_params(size(name)) == count
    assert {"qwen2", "qwen2_yarn", "qwen2_sliding"} <= set(FIXTURES)  # golden logits against transformers


def test_own_samples_become_pairs():
    made = Pairs()(ALL, None, HELP)
    assert [(pair.chosen, pair.rejected) for pair in made.problems[0].pairs] == [(RIGHT, NEAR), (OTHER, NEAR)]
