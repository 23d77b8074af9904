"""Programs are shared by equal settings, and by nothing that may have changed."""

import dataclasses
import functools
import math

import jax.numpy as jnp
import optax
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.objectives import OBJECTIVES, with_regularizers
from mtjax.objectives.base import Settings
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.nll import Nll
from mtjax.objectives.regularizers.z_loss import ZLoss
from mtjax.optim import OptimConfig, make_optimizer
from mtjax.sharing import key_of, shared
from mtjax.training.reference import cached_reference, frozen_reference
from mtjax.training.step import make_step_program

TINY = DecoderConfig(vocab_size=16, width=16, layers=1, heads=1, kv_heads=1, head_dim=16, mlp_width=8)


@dataclasses.dataclass
class Changing(Settings):
    beta: float = 1.0

    def __call__(self, policy, batch, *, reference, key):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Own:
    beta: float = 1.0


def program(objective=None, learning_rate=1e-3, **options):
    objective = Nll() if objective is None else objective
    optimizer = make_optimizer(OptimConfig(learning_rate=learning_rate), 10)
    return make_step_program(make_language_model(TINY), objective, optimizer, **options)


def test_equal_settings_share_a_program_and_others_do_not():
    first = program()
    assert program() is first
    assert program(Dpo()) is not first
    assert program(learning_rate=2e-3) is not first
    assert program(micro_batches=2) is not first
    assert program(chunk=64) is not first
    assert program(mesh=make_mesh(MeshSpec(data=8))) is not first
    assert program(with_regularizers(Nll(), (ZLoss(1e-3),))) is program(with_regularizers(Nll(), (ZLoss(1e-3),)))
    assert program(with_regularizers(Nll(), (ZLoss(1e-3),))) is not program(with_regularizers(Nll(), (ZLoss(1e-4),)))
    model = make_language_model(TINY)
    frozen = program(Dpo(), reference=frozen_reference(model, 16))
    assert program(Dpo(), reference=frozen_reference(model, 16)) is frozen
    assert program(Dpo(), reference=cached_reference) is not frozen


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_objective_has_a_key(name):
    assert key_of(OBJECTIVES[name]()) == key_of(OBJECTIVES[name]())


def test_what_may_change_is_never_shared():
    for value in (Changing(), lambda policy: policy, [1], {"a": [1]}, jnp.ones(2), functools.partial(print, [1])):
        with pytest.raises(TypeError, match="may change"):
            key_of(value)
    objective = Changing()
    assert program(objective) is not program(objective)


def test_keys_tell_types_and_classes_apart():
    other = dataclasses.make_dataclass("Own", [("beta", float, 1.0)], frozen=True)
    assert key_of(Own()) == key_of(Own(1.0))
    assert len({key_of(value) for value in (Own(1), Own(1.0), Own(True), other(1.0), Own(math.inf))}) == 5
    assert key_of((1, None)) != key_of((None, 1))
    assert key_of(optax.sgd) == key_of(optax.sgd)


def test_the_last_used_are_kept():
    made = []

    @shared(2)
    def make(number, *, scale=1):
        made.append((number, scale))
        return object()

    one = make(1)
    two = make(2)
    assert make(1) is one
    make(3)  # drops 2
    assert make(1) is one
    assert make(2) is not two
    assert make(2, scale=3) is not make(2, scale=4)
    assert made == [(1, 1), (2, 1), (3, 1), (2, 1), (2, 3), (2, 4)]
