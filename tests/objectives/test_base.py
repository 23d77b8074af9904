"""The reducers and the registry."""

import dataclasses
import doctest
import importlib
import pkgutil

import jax.numpy as jnp
import numpy as np
import pytest

import mtjax.objectives
from mtjax.objectives import base


def test_segment_sum_and_spread_by_hand():
    x = jnp.array([[1.0, 2.0, 4.0, 8.0, 16.0]])
    segments = jnp.array([[1, 1, 3, 3, 0]])
    sums = base.segment_sum(x, segments, 4)
    np.testing.assert_array_equal(sums, [[3, 0, 12, 0]])  # 1 + 2; no segment 2; 4 + 8; the padding's 16 nowhere
    np.testing.assert_array_equal(base.spread(sums, segments), [[3, 3, 12, 12, 0]])


def test_is_target_leaves_out_first_tokens_and_padding():
    np.testing.assert_array_equal(base.is_target(jnp.array([[1, 1, 2, 3, 3, 0, 0]])), [[0, 1, 0, 0, 1, 0, 0]])


def test_the_registry_refuses_a_taken_name_and_a_class_without_a_task():
    @dataclasses.dataclass(frozen=True)
    class NoTask:
        beta: float = 0.1

    with pytest.raises(ValueError, match="registered twice"):
        base.OBJECTIVES.register("nll")(base.OBJECTIVES["dpo"])
    with pytest.raises(ValueError, match="'half_done' lacks task, needs_reference"):
        base.OBJECTIVES.register("half_done")(NoTask)


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(mtjax.objectives.__path__)])
def test_the_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(f"mtjax.objectives.{name}")).failed == 0


def test_every_loss_function_has_an_example():
    names = ("dco.dco_loss", "dpo.dpo_loss", "kto.kto_loss", "npo.npo_loss", "orpo.orpo_loss", "rise.rise_loss")
    for name in (*names, "simpo.simpo_loss", "unlikelihood.unlikelihood_loss"):
        module, function = name.split(".")
        assert ">>>" in getattr(importlib.import_module(f"mtjax.objectives.{module}"), function).__doc__
