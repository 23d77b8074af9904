"""Paper 46, weight matching: a permuted copy is matched back exactly, and the barrier between both is 0."""

import jax
import numpy as np

from mtjax.model.merging.permutations import matching, permuted
from tests.model.test_merging import MODEL, fresh, some_permutations


def test_a_permuted_copy_is_matched_back():
    params = fresh()
    copy = permuted(MODEL, params, some_permutations(MODEL, 3))
    assert not np.array_equal(copy["layers"]["mlp"]["up"]["kernel"], params["layers"]["mlp"]["up"]["kernel"])
    back = permuted(MODEL, copy, matching(MODEL, params, copy))
    jax.tree.map(np.testing.assert_array_equal, back, jax.device_get(params))
