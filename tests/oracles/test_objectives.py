"""Objectives against float64 oracles in torch: values and gradients on packed batches with ragged weights.

The oracles (`objectives_with_torch.py`) are written from the formulas, text by text. The numbers are random ones; the
golden values of single tokens and pairs stand in `tests/objectives`.
"""

import dataclasses
import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.objectives.aldr import Aldr
from mtjax.objectives.alphamath import AlphaMath
from mtjax.objectives.aot import Aot
from mtjax.objectives.asft import Asft
from mtjax.objectives.asymre import Asymre
from mtjax.objectives.bco import Bco
from mtjax.objectives.beta_dpo import BetaDpo
from mtjax.objectives.cringe import Cringe, PairwiseCringe
from mtjax.objectives.dft import Dft
from mtjax.objectives.focal import Focal
from mtjax.objectives.gce import Gce
from mtjax.objectives.gem import Gem
from mtjax.objectives.label_smoothing import LabelSmoothing
from mtjax.objectives.ldr import Ldr
from mtjax.objectives.mml import Mml
from mtjax.objectives.nft import Nft
from mtjax.objectives.policy_gradient import PolicyGradient
from mtjax.objectives.process_reward import ProcessReward
from mtjax.objectives.psft import Psft
from mtjax.objectives.self_reflection import SelfReflection
from mtjax.objectives.topr import Topr
from mtjax.objectives.tpo import Tpo
from mtjax.objectives.w_reinforce import WReinforce
from mtjax.objectives.xpo import Xpo
from mtjax.types import TokenScores
from tests.objectives.fakes import random_batch

TORCH = os.environ.get("MTJAX_TORCH")
pytestmark = pytest.mark.skipif(TORCH is None, reason="MTJAX_TORCH names no interpreter with torch")
VOCAB, SEEDS = 11, range(int(os.environ.get("MTJAX_ORACLE_SEEDS", "3")))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Told:
    """A policy with the logits `[*B, T, V]` that it is told, its hidden states too; the first is its value."""

    logits: jax.Array

    def _live(self, batch):
        before = jnp.concatenate([0 * batch.segments[..., :1], batch.segments[..., :-1]], -1)
        return (batch.segments > 0) & (batch.segments == before)

    def scores(self, batch):
        rows = jax.nn.log_softmax(self.logits)
        logprob = jnp.take_along_axis(rows, batch.tokens[..., None], -1)[..., 0]
        found = TokenScores(logprob, -jnp.sum(jnp.exp(rows) * rows, -1), jnp.max(rows, -1))
        return jax.tree.map(lambda x: jnp.where(self._live(batch), x, 0), found)

    def map_logits(self, fn, batch, also=()):
        shape, flat = batch.tokens.shape, [one.logits.reshape(-1, VOCAB) for one in (self, *also)]
        extras = {key: x.reshape(-1) for key, x in batch.extras.items() if x.shape == shape and "segment_" not in key}
        out = fn(tuple(flat) if also else flat[0], batch.tokens.reshape(-1), extras)
        return jax.tree.map(lambda x: jnp.where(self._live(batch), x.reshape(shape), 0), out)

    def hidden(self, batch):
        return self.logits

    def values(self, batch):
        return jnp.tanh(self.logits[..., 0])


def group(kind, **settings):
    return PolicyGradient(surrogate=kind, length=12.0, **settings)


BOUNDS = {"clip_low": 0.1, "clip_high": 0.25, "dual_clip": 2.0}
CASES = {
    "psft": Psft(clip=0.3),
    "ldr": Ldr(temperature=0.7, margin=0.2),
    "ldr_top": Ldr(kind="top_k", k=3, margin=0.5),
    "aldr": Aldr(temperature=1.3, alpha=3.0, margin=0.2),
    "dft": Dft(),
    "focal": Focal(gamma=1.5),
    "gce": Gce(q=0.35),
    "gem_linear": Gem(beta=0.6, kind="linear"),
    "gem": Gem(beta=0.6, kind="logsigmoid"),
    "label_smoothing": LabelSmoothing(epsilon=0.15),
    "asft": Asft(anchor_weight=0.3, direction="forward"),
    "asft_reverse": Asft(anchor_weight=0.3, direction="reverse"),
    "cringe": Cringe(wrong_weight=0.6),
    "cringe_top": Cringe(k=3, wrong_weight=1.5, detach=True),
    "asymre": Asymre(delta=-0.15),
    "asymre_rate": Asymre(delta=0.05, baseline="success_rate"),
    "topr": Topr(wrong_weight=0.7),
    "topr_token": Topr(form="token", wrong_weight=0.7, sampler="recorded"),
    "nft": Nft(length=40),
    "nft_odds": Nft(omega="odds", reduction="sequence_mean", wrong_weight=0.4, sampler="recorded"),
    "nft_one": Nft(omega="one", reduction="sequence_sum"),
    "w_reinforce": WReinforce(right_weight=0.3, wrong_weight=1.2, **BOUNDS),
    "w_reinforce_constant": WReinforce(0.3, 1.2, reduction="constant", length=30, **BOUNDS),
    "mml": Mml(beta=0.4, marginal_weight=0.8, each_weight=0.3),
    "mml_each": Mml(marginal_weight=0.5, each_weight=2.0, each="mean"),
    "alphamath": AlphaMath(value_weight=0.3, epsilon=0.01),
    "process_reward": ProcessReward(wrong_weight=1.7),
    "self_reflection": SelfReflection(ratio=0.6, margin=0.8),
    "self_reflection_mean": SelfReflection(ratio=0.4, margin=1.1, pooling="mean"),
    "bco": Bco(beta=0.3, shift="batch"),
    "bco_running": Bco(beta=0.3),
    "aot": Aot(beta=0.2, label_smoothing=0.1),
    "aot_unpaired": Aot(beta=0.2, form="unpaired"),
    "beta_dpo": BetaDpo(beta=0.15, scale=0.5, keep=0.7, draw="top", over="batch"),
    "beta_dpo_running": BetaDpo(beta=0.15, scale=0.5, keep=0.7, draw="top"),
    "pairwise_cringe": PairwiseCringe(wrong_weight=0.8, k=2, bound=-2.0, temperature=3.0),
    "tpo": Tpo(beta=0.07, gold_weight=0.6),
    "tpo_mean": Tpo(beta=1.5, kind="mean", gamma=0.4, gold_weight=0.9, nll_unit="triple"),
    "xpo": Xpo(beta=0.25, optimism=0.02),
    "xpo_ipo": Xpo(beta=0.25, optimism=0.0, kind="ipo"),
    "policy_ppo_bounded": group("ppo", clip_low=0.1, clip_high=0.3, cap=1.6, dual_clip=1.4),
    "policy_gspo": group("gspo", reduction="sequence_mean", clip_low=0.05, clip_high=0.06),
    "policy_gmpo": group("gmpo", reduction="sequence_mean", clip_low=0.15, clip_high=0.2),
}
REDUCTIONS = ("token_mean", "sequence_mean", "sequence_sum", "constant")
SURROGATES = ("reinforce", "ppo", "cispo", "cispo_band", "sapo", "vespo", "topr", "topr_token")
CASES |= {f"policy_{kind}": group(kind, reduction=REDUCTIONS[n % 4]) for n, kind in enumerate(SURROGATES)}
RUNNING = {
    "bco_running": {"logratio_mean": jnp.float32(-0.45), "logratio_count": jnp.float32(7)},
    "beta_dpo_running": {"margin_mean": jnp.float32(0.3), "margin_deviation": jnp.float32(0.9)},
}
OF = {"mml": "group", "self_reflection": "group", "tpo": "group", "policy": "group", "xpo": "two", "process": "signed"}
OF |= {"aot": "pair", "beta": "pair", "pairwise": "pair"}
kind_of = lambda name: next((kind for start, kind in OF.items() if name.startswith(start)), "single")


def batches(seed):
    """A batch of each kind with logits of policy and reference; they differ by 0.3, so that some clips act."""
    shapes = {"single": {}, "signed": {}, "pair": {"pair": True}, "group": {"group": 3}, "two": {"group": 2}}
    made = {}
    for number, (kind, shape) in enumerate(shapes.items()):
        rng = np.random.default_rng(1000 * seed + number)
        batch = random_batch(rows=6, length=15, max_segments=3, seed=977 * seed + number, **shape)
        if kind == "signed":
            signs = jnp.asarray(rng.choice([-1.0, 1.0], size=batch.weights.shape), jnp.float32)
            batch = batch._replace(weights=batch.weights * signs)
        logits = rng.normal(size=(*batch.tokens.shape, VOCAB))
        reference = (logits + 0.3 * rng.normal(size=logits.shape)).astype(np.float32)
        logits = logits.astype(np.float32)
        recorded = Told(jnp.asarray(reference)).scores(batch).logprob + 0.1 * rng.normal(size=batch.tokens.shape)
        extras = batch.extras | {"sampled_logprob": jnp.asarray(recorded, jnp.float32)}
        made[kind] = batch._replace(extras=extras), jnp.asarray(logits), jnp.asarray(reference)
    return made


@pytest.fixture(scope="module", params=SEEDS)
def asked(request, tmp_path_factory):
    """The batches of a seed, and what torch says of them."""
    folder, made = tmp_path_factory.mktemp("objectives"), batches(request.param)
    arrays = {
        f"{kind}/{name}": np.asarray(value)
        for kind, (batch, logits, reference) in made.items()
        for name, value in {
            "tokens": batch.tokens, "weights": batch.weights, "segments": batch.segments, **batch.extras,
            "logits": logits, "reference": reference,
        }.items()
    }  # fmt: skip
    np.savez(folder / "in.npz", **arrays)
    script = pathlib.Path(__file__).with_name("objectives_with_torch.py")
    subprocess.run([TORCH, script, folder / "in.npz", folder / "out.npz"], check=True)
    return made, np.load(folder / "out.npz")


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_those_of_the_oracle(name, asked):
    made, oracle = asked
    objective, (batch, logits, reference) = CASES[name], made[kind_of(name)]
    given = {"running": RUNNING[name]} if name in RUNNING else {}

    @jax.jit
    def found(logits):
        against = Told(reference) if objective.needs_reference else None
        return jax.value_and_grad(lambda z: objective(Told(z), batch, reference=against, **given)[0].value)(logits)

    value, gradient = found(logits)
    np.testing.assert_allclose(value, oracle[f"{name}/value"], rtol=1e-5, atol=1e-6)
    wanted = oracle[f"{name}/gradient"]
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=2e-6 * max(1.0, np.abs(wanted).max()))
    assert np.abs(wanted).max() > 1e-4
    # Far away, with log-probabilities of -1e4, policy and reference apart or together: finite in float32.
    for scale in (3e3, -3e3):
        assert all(np.isfinite(x).all() for x in found(scale * logits)), scale


def test_every_case_was_asked(asked):
    assert {key.split("/")[0] for key in asked[1].files} == set(CASES)
