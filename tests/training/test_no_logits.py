"""No step of any objective holds logits of all tokens: every array of the traced step is looked at."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.value_head import ValueHead
from mtjax.objectives import OBJECTIVES, REGULARIZERS, with_regularizers
from mtjax.objectives.policy_gradient import PolicyGradient
from mtjax.objectives.regularizers.entropy_bonus import EntropyBonus
from mtjax.objectives.regularizers.z_loss import ZLoss
from mtjax.objectives.tracked import with_tracking
from mtjax.training.memory import new_memory
from mtjax.training.reference import frozen_reference
from mtjax.training.state import init_state
from mtjax.training.step import make_step_program
from tests.objectives.fakes import batch_for

VOCAB, CHUNK = 1009, 16  # a number that nothing else has, and positions that have logits at a time
OPTIMIZER = optax.sgd(0.1)


@functools.cache
def model_of(value_head):
    head = ValueHead() if value_head else None
    return make_language_model(
        DecoderConfig(
            vocab_size=VOCAB, width=16, layers=1, heads=2, kv_heads=2, head_dim=8, mlp_width=16,
            max_length=64, value_head=head,
        )
    )  # fmt: skip


def shapes_in(jaxpr):
    """The shape of every array that a traced function makes, those inside of loops and branches too."""
    for equation in jaxpr.eqns:
        yield from (out.aval.shape for out in equation.outvars if hasattr(out.aval, "shape"))
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from shapes_in(inner)


def most_logits(objective, chunk=CHUNK):
    """The most positions of which one array of the step has logits."""
    model = model_of(getattr(objective, "needs_value", False))
    batch = batch_for(objective, rows=8, length=64)  # 512 positions a side
    policy = frozen_reference(model, chunk) if objective.needs_reference else None
    program = make_step_program(model, objective, OPTIMIZER, micro_batches=2, reference=policy, chunk=chunk)

    def shapes():
        state = init_state(model, OPTIMIZER, jax.random.key(0))
        return state._replace(memory=new_memory(objective, 32)), jax.random.key(0)

    state, key = jax.eval_shape(shapes)
    other = state.params if policy is not None else None
    traced = program.trace(state, jax.tree.map(jnp.asarray, batch), key, other)
    return max(
        (size // VOCAB for shape in shapes_in(traced.jaxpr.jaxpr) if VOCAB in shape and (size := _product(shape))),
        default=0,
    )


def _product(shape):
    return functools.reduce(lambda a, b: a * b, shape, 1)


CASES = {name: cls() for name, cls in OBJECTIVES.items()} | {
    "policy_gradient-entropy": PolicyGradient(entropy_weight=0.1, kl_weight=0.1),
    "nll+regularizers": with_regularizers(OBJECTIVES["nll"](), [EntropyBonus(), ZLoss()]),
    "dpo+regularizers+maps": with_tracking(with_regularizers(OBJECTIVES["dpo"](), [EntropyBonus(), ZLoss()]), True),
    "dpo-wpo": OBJECTIVES["dpo"](weight="aligned"),
}
QUICK = ("salt", "glow", "policy_gradient-entropy")
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(CASES)]


@pytest.mark.parametrize("name", EVERY)
def test_a_step_holds_logits_of_a_chunk_alone(name):
    """Distillation, entropy bonus and pools included; parameters of the vocabulary are 16 wide here, as a chunk is."""
    assert 0 < most_logits(CASES[name]) <= 2 * CHUNK


def test_the_look_finds_logits_of_all_tokens():
    """An objective whose chunk is the batch is found."""
    assert most_logits(CASES["nll"], chunk=512) >= 256
    assert set(REGULARIZERS) >= {"entropy_bonus", "z_loss"}
