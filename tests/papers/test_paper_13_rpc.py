"""Paper 13, RPC: a vote where probabilities are equal, the likeliest where each answer has one path, and pruning."""

import numpy as np
import pytest

from mtjax.sampling.aggregation import AGGREGATIONS
from mtjax.sampling.aggregation.rpc import kept_paths
from mtjax.sampling.sampler import Sample

perplexity, rpc = AGGREGATIONS["perplexity"], AGGREGATIONS["rpc"]


def test_equal_probabilities_vote_and_single_paths_compete():
    assert rpc(["3", "3", "4", None], [-9.0] * 4) == pytest.approx({"3": 2 / 3, "4": 1 / 3})
    alone = perplexity(["3", "4"], np.log([0.2, 0.3]).tolist(), [Sample("a"), Sample("b")])
    assert alone == pytest.approx({"3": 0.4, "4": 0.6})
    again = perplexity(["3", "3", "4"], np.log([0.2, 0.2, 0.3]).tolist(), [Sample("a"), Sample("a"), Sample("b")])
    assert again == pytest.approx(alone)  # a path counts once, however often it is drawn


def test_planted_improbable_paths_are_pruned():
    probabilities = np.array([0.30, 0.31, 0.29, 0.33, 0.28, 0.32, 0.30, 0.27, 0.010, 0.012, 0.011, 0.009])
    assert kept_paths(np.log(probabilities)).tolist() == [True] * 8 + [False] * 4
