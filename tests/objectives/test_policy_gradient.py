"""Policy gradients: the published numbers, REINFORCE on the first update, extremes, and the KL by enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.policy_gradient import PolicyGradient
from mtjax.objectives.policy_losses import kl_estimate, surrogate_losses
from mtjax.objectives.reductions import reduced
from mtjax.objectives.sequences import live_texts
from mtjax.types import Batch
from tests.objectives.fakes import BigramPolicy, FixedPolicy, outcome, random_batch, random_table

NEW, OLD, ADVANTAGE = [[-0.9, -1.2, -0.1], [-2.0, -0.3]], [[-1.0, -1.0, -0.5], [-1.5, -1.6]], [1.0, -1.0]
KINDS = ("reinforce", "ppo", "gspo", "cispo", "cispo_band", "gmpo", "sapo", "vespo", "topr", "topr_token")
REDUCTIONS = ("token_mean", "sequence_mean", "sequence_sum", "constant")


def group_of(new=NEW, old=OLD, advantage=ADVANTAGE, length=5):
    """One group of candidates, each a side: `(1, G, T)`, with a token in front that nothing predicts."""
    count = len(new)
    fill = lambda rows, first, rest: np.array([[[first, *row] + [rest] * (length - 1 - len(row)) for row in rows]])
    ones = [[1.0] * len(row) for row in new]
    column = lambda values: jnp.asarray(values, jnp.float32).reshape(1, count, 1)
    extras = {"segment_advantage": column(advantage), "segment_reward": column(np.array(advantage) > 0)}
    extras |= {"sampled_logprob": jnp.asarray(fill(old, 9.0, 9.0), jnp.float32)}
    segments = jnp.asarray(fill(ones, 1, 0), jnp.int32)
    batch = Batch(
        jnp.zeros((1, count, length), jnp.int32), jnp.asarray(fill(ones, 0, 0), jnp.float32), segments, extras
    )
    return batch, FixedPolicy(jnp.asarray(fill(new, -77.0, -88.0), jnp.float32))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [  # token_mean, sequence_mean, sequence_sum, constant with L = 8
        ({"surrogate": "ppo"}, [0.253079, 0.5833406, 0.6326975, 0.07908719]),
        ({"surrogate": "ppo", "dual_clip": 3.0}, [0.1192197, 0.4160164, 0.2980492, 0.03725615]),
        ({"surrogate": "cispo", "cap": 5.0}, [-0.03750742, -0.2240770, -0.09376856, -0.01172107]),
        ({"surrogate": "cispo_band", "clip_high": 0.28}, [0.02422615, -0.1451449, 0.06056537, 0.007570671]),
        ({"surrogate": "sapo"}, [-0.2595870, 0.2093866, -0.6489676, -0.08112095]),
        ({"surrogate": "reinforce"}, [-0.02, -0.2083333, -0.05, -0.00625]),
        ({"surrogate": "gspo"}, [None, 0.2457123, None, None]),
        ({"surrogate": "gmpo"}, [None, 0.2315706, None, None]),
    ],
)
def test_the_published_numbers(settings, expected):
    batch, policy = group_of()
    for reduction, value in zip(REDUCTIONS, expected, strict=True):
        if value is not None:
            loss = PolicyGradient(reduction=reduction, length=8, **settings)(policy, batch)[0]
            np.testing.assert_allclose(loss.value, value, rtol=2e-6, atol=1e-7)


def test_losses_of_tokens_and_texts_by_hand():
    batch, policy = group_of()
    each = lambda **settings: np.asarray(
        outcome(PolicyGradient(reduction="sequence_mean", **settings), policy, batch).loss.total
    )
    np.testing.assert_allclose(each(surrogate="gspo"), -1.0004 + 1.491825, rtol=1e-6)
    np.testing.assert_allclose(each(surrogate="gmpo"), -1.105171 + 1.568312, rtol=1e-6)
    # TOPR: right texts plain, wrong ones with a ratio of at most 1, of the text or of each token.
    topr = lambda kind, new, old, a, how: (
        PolicyGradient(surrogate=kind, reduction=how)(*reversed(group_of([new], [old], [a])))[0].value
    )
    wrong, right = ([-1.0, -0.5], [-0.8, -0.9], -1.0), ([-1.0, -0.5], [-1.4, -0.9], 1.0)
    np.testing.assert_allclose(topr("topr", *wrong, "sequence_sum"), -1.5, rtol=1e-6)
    np.testing.assert_allclose(topr("topr_token", *wrong, "token_mean"), -0.6593653765, rtol=1e-6)
    np.testing.assert_allclose(topr("topr", *right, "sequence_sum"), 1.5, rtol=1e-6)
    np.testing.assert_allclose(topr("topr_token", *right, "token_mean"), 0.75, rtol=1e-6)


def totals_and_slopes(batch, policy, settings):
    """Of each kind the sum over texts of sums over tokens, and its slope on each log-probability, in one program."""

    @jax.jit
    def found(policy):
        def one(kind):
            objective = PolicyGradient(surrogate=kind, reduction="sequence_sum", **settings.get(kind, {}))
            return jax.value_and_grad(lambda policy: objective(policy, batch)[0].total)(policy)

        return {kind: one(kind) for kind in KINDS}

    return {kind: (total, np.asarray(slope.logprob)) for kind, (total, slope) in found(policy).items()}


def test_slopes_against_a_float64_oracle():
    """Each kind's derivative on log pi, written out in NumPy; clipped tokens have none under ppo, but under cispo."""
    d = np.concatenate([np.subtract(n, o) for n, o in zip(NEW, OLD, strict=True)]).astype(np.float64)
    a, text = np.array([1.0, 1, 1, -1, -1]), [slice(0, 3), slice(3, 5)]
    ratio, mean = np.exp(d), np.concatenate([np.full(len(d[s]), d[s].mean()) for s in text])
    own = np.where(a > 0, np.minimum(d, 0.3), np.maximum(d, -0.3))  # one d is 0.4, the edge of the default
    inside = np.where(a > 0, d < 0.3, d > -0.3)
    geometric = np.concatenate([np.full(len(d[s]), np.exp(own[s].mean())) for s in text])
    s, tau = np.exp(mean), np.where(a > 0, 1.0, 1.05)
    gate = 1 / (1 + np.exp(-tau * (ratio - 1)))
    whole = np.concatenate([np.full(len(d[s]), np.exp(min(d[s].sum(), 0))) for s in text])
    sum_of = np.concatenate([np.full(len(d[s]), np.exp(d[s].sum())) for s in text])
    k, scale = np.where(a > 0, 2, 3), np.where(a > 0, 3, 2)
    expected = {
        "reinforce": -a,
        "ppo": -a * ratio * np.where(a > 0, ratio < 1.28, ratio > 0.8),
        "gspo": -a * s * np.where(a > 0, s < 1.0004, s > 1 - 3e-4),
        "cispo": -a * np.minimum(ratio, 5),
        "cispo_band": -a * np.clip(ratio, 0.8, 1.28),
        "gmpo": -a * geometric * inside,
        "sapo": -a * 4 * gate * (1 - gate) * ratio,
        "vespo": -a * sum_of**k * np.exp(scale * (1 - sum_of)),
        "topr": -a * np.where(a > 0, 1, whole),
        "topr_token": -a * np.where(a > 0, 1, np.minimum(ratio, 1)),
    }
    batch, policy = group_of()
    clips = {"gmpo": {"clip_low": 0.3, "clip_high": 0.3}}
    for kind, (_, found) in totals_and_slopes(batch, policy, clips).items():
        live = np.asarray(batch.weights) > 0
        np.testing.assert_allclose(np.asarray(found)[live], expected[kind], rtol=2e-6, atol=1e-7, err_msg=kind)
        assert not np.asarray(found)[~live].any()


def test_the_first_update_is_reinforce_and_clips_nothing():
    """Against the recorded log-probs of the policy itself, or without any, which is one update per rollout."""
    batch, policy = group_of(OLD, OLD)

    @jax.jit
    def found(policy):
        def slope(kind, old, how):
            loss = lambda policy: PolicyGradient(surrogate=kind, old=old, reduction=how)(policy, batch)[0].value
            return jax.grad(loss)(policy).logprob

        wanted = {how: slope("reinforce", "recorded", how) for how in REDUCTIONS}
        made = {kind: slope(kind, "recorded", "sequence_mean") for kind in KINDS}
        return wanted, made, {how: slope("ppo", "current", how) for how in REDUCTIONS}

    wanted, made, current = found(policy)
    for kind, slope in made.items():
        np.testing.assert_allclose(slope, wanted["sequence_mean"], rtol=1e-6, err_msg=kind)
    for how, slope in current.items():
        np.testing.assert_allclose(slope, wanted[how], rtol=1e-6, err_msg=how)
    metrics = PolicyGradient()(policy, batch)[1]
    assert (metrics["ratio"].value, metrics["drift"].value, metrics["clip_share"].value) == (1, 0, 0)


def test_values_and_slopes_are_finite_at_extremes():
    """Log-ratios of +-1e4 in float32; a wrong text that became likely is bounded by the clamp, and by a dual clip."""
    new = [[h - 1.0, -1.0] for h in (-1e4, -100.0, -30.0, 30.0, 100.0, 1e4)]
    batch, policy = group_of([*new, *new], [[-1.0, -1.0]] * 12, [-1.0] * 6 + [1.0] * 6)
    for kind, (total, slope) in totals_and_slopes(batch, policy, {}).items():
        assert np.isfinite(total), kind
        assert np.isfinite(slope).all(), kind
    batch, policy = group_of([[9.0]], [[-1.0]], [-1.0])
    dual = outcome(PolicyGradient(dual_clip=3.0), policy, batch)
    np.testing.assert_allclose(dual.loss.value, 3.0)
    assert not dual.gradient.logprob.any()
    np.testing.assert_allclose(PolicyGradient(cap=4.0)(policy, batch)[0].value, 4.0)


def test_the_sequence_form_of_gspo_has_the_gradient_of_its_token_form():
    batch, policy = group_of()
    weights = np.asarray(batch.weights)[0] / 2

    def by_text(logprob):
        d = (logprob - batch.extras["sampled_logprob"])[0]
        s = jnp.exp(jnp.sum(jnp.where(weights > 0, d, 0), -1) / jnp.sum(weights > 0, -1))
        a = jnp.array(ADVANTAGE)
        return jnp.mean(jnp.maximum(-a * s, -a * jnp.clip(s, 1 - 0.9, 1 + 0.9)))

    settings = {"surrogate": "gspo", "reduction": "sequence_mean", "clip_low": 0.9, "clip_high": 0.9}
    ours = outcome(PolicyGradient(**settings), policy, batch)
    np.testing.assert_allclose(ours.gradient.logprob / 2, jax.grad(by_text)(policy.logprob), rtol=1e-5, atol=1e-7)


def test_kl_estimates_and_their_slopes():
    new, reference = jnp.array([-1.0, -0.5, -3.0]), jnp.array([-1.2, -0.5, -1.0])
    slope = lambda kind: jax.grad(lambda x: jnp.sum(kl_estimate(kind, x, reference)))(new)
    for kind, values, slopes in (
        ("k1", [0.2, 0, -2], [1, 1, 1]),
        ("k2", [0.02, 0, 2], [0.2, 0, -2]),
        ("k3", [0.0187307531, 0, 4.3890560989], [0.1812692469, 0, -6.3890560989]),
        ("k3_plus", [0.0187307531, 0, 4.3890560989], [0.2, 0, -2]),
    ):
        np.testing.assert_allclose(kl_estimate(kind, new, reference), values, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(slope(kind), slopes, rtol=1e-5, atol=1e-7)
    # At a distance of 1e-4, `exp(d) - d - 1` in float32 is 0 or twice its value.
    near = kl_estimate("k3", jnp.full(1, -1e-4), jnp.zeros(1))
    np.testing.assert_allclose(near, 5.00017e-9, rtol=2e-2)
    far = jax.value_and_grad(lambda x: kl_estimate("k3", x, jnp.zeros(1))[0])(jnp.full(1, -1e4))
    assert np.isfinite(far[0])
    np.testing.assert_allclose(far[1], -np.expm1(20.0), rtol=1e-5)


def test_which_estimate_has_the_gradient_of_the_kl_by_enumeration():
    """Over a vocabulary of 5: the expected gradient of k1 is 0, of k2 KL(pi || q)'s, and of k3 KL(q || pi)'s."""
    rng = np.random.default_rng(0)
    logits, other = (jnp.asarray(rng.normal(size=5), jnp.float32) for _ in range(2))
    q = jax.nn.log_softmax(other)

    def expected(kind):
        chance = jax.nn.softmax(logits)
        return jax.grad(lambda z: jnp.sum(chance * kl_estimate(kind, jax.nn.log_softmax(z), q)))(logits)

    def kl(a, b):
        return jnp.sum(jnp.exp(a) * (a - b))

    backward = jax.grad(lambda z: kl(jax.nn.log_softmax(z), q))(logits)
    forward = jax.grad(lambda z: kl(q, jax.nn.log_softmax(z)))(logits)
    np.testing.assert_allclose(expected("k1"), 0, atol=1e-6)
    np.testing.assert_allclose(expected("k2"), backward, atol=1e-6)
    np.testing.assert_allclose(expected("k3_plus"), backward, atol=1e-6)
    np.testing.assert_allclose(expected("k3"), forward, atol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_repeating_a_batch_changes_no_reduction(reduction):
    batch = random_batch(group=3)
    losses = jnp.asarray(np.random.default_rng(1).normal(size=batch.tokens.shape), jnp.float32)
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x]), batch)
    once = reduced(losses, batch, reduction, 7).value
    np.testing.assert_allclose(reduced(jnp.concatenate([losses, losses]), twice, reduction, 7).value, once, rtol=1e-5)


def test_entropy_bonus_kl_and_whitening_are_what_they_say():
    batch, policy, reference = random_batch(group=3), BigramPolicy(random_table()), BigramPolicy(random_table(1))
    plain = outcome(PolicyGradient(surrogate="reinforce"), policy, batch)
    bonus = outcome(PolicyGradient(surrogate="reinforce", entropy_weight=0.5), policy, batch)
    np.testing.assert_allclose(bonus.loss.value, plain.loss.value - 0.5 * plain.metrics["entropy"].value, rtol=1e-5)
    assert np.abs(bonus.gradient.table - plain.gradient.table).max() > 1e-3
    held = outcome(PolicyGradient(surrogate="reinforce", kl_weight=2.0, kl="k3"), policy, batch, reference)
    np.testing.assert_allclose(held.loss.value, plain.loss.value + 2 * held.metrics["kl"].value, rtol=1e-5)
    # Whitened over tokens, the weighted advantages of all targets have mean 0 and deviation 1.
    tokens = outcome(PolicyGradient(surrogate="reinforce", whiten="tokens"), policy, batch)
    moments = PolicyGradient(whiten="tokens").statistics(policy, batch)
    mean = moments["first_moment"].value
    deviation = np.sqrt(moments["second_moment"].value - mean**2)
    scaled = batch._replace(
        extras=batch.extras | {"segment_advantage": (batch.extras["segment_advantage"] - mean) / deviation}
    )
    np.testing.assert_allclose(
        tokens.loss.value, outcome(PolicyGradient(surrogate="reinforce"), policy, scaled).loss.value, rtol=1e-4
    )
    # Over texts: mean and deviation of the advantages of those that have a target.
    own = np.asarray(batch.extras["segment_advantage"])[np.asarray(live_texts(batch))]
    moments = PolicyGradient(whiten="advantages").statistics(policy, batch)
    np.testing.assert_allclose(moments["first_moment"].value, own.mean(), rtol=1e-5)
    np.testing.assert_allclose(moments["second_moment"].value, (own**2).mean(), rtol=1e-5)
    scaled = batch._replace(
        extras=batch.extras | {"segment_advantage": (batch.extras["segment_advantage"] - own.mean()) / own.std()}
    )
    texts = outcome(PolicyGradient(surrogate="reinforce", whiten="advantages"), policy, batch)
    np.testing.assert_allclose(
        texts.loss.value, outcome(PolicyGradient(surrogate="reinforce"), policy, scaled).loss.value, rtol=1e-4
    )


def test_an_engine_s_mismatch_is_weighted_and_capped():
    batch, policy = group_of([[-1.0, -1.0]], [[-1.5, -3.0]], [1.0])  # what was recorded is mu
    reference = FixedPolicy(policy.logprob)  # pi_old is pi
    loss = lambda **s: PolicyGradient(surrogate="reinforce", old="reference", **s)(policy, batch, reference=reference)
    np.testing.assert_allclose(loss()[0].value, 1.0)
    np.testing.assert_allclose(loss(mismatch_cap=2.0)[0].value, (np.exp(0.5) + 2.0) / 2, rtol=1e-6)


def test_metrics_of_a_group_by_hand():
    batch, policy = group_of()
    metrics = {name: float(mean.value) for name, mean in PolicyGradient()(policy, batch)[1].items()}
    assert metrics["reward"] == 0.5
    assert (metrics["length_right"], metrics["length_wrong"]) == (3, 2)
    assert metrics["equal_groups"] == 0
    np.testing.assert_allclose(metrics["clip_share"], 2 / 5)  # the third token above 1.28, the fourth below 0.8
    d = np.concatenate([np.subtract(n, o) for n, o in zip(NEW, OLD, strict=True)])
    np.testing.assert_allclose(metrics["ratio"], np.exp(d).mean(), rtol=1e-5)
    silent = group_of(advantage=[0.0, 0.0])[0]
    assert float(PolicyGradient()(policy, silent)[1]["equal_groups"].value) == 1


def test_what_does_not_fit_is_refused_with_the_way_out():
    batch, policy = group_of()
    without = batch._replace(extras={name: x for name, x in batch.extras.items() if name != "sampled_logprob"})
    with pytest.raises(InputError, match=r"data\.task\.logprobs=own, or set objective\.old=current"):
        PolicyGradient()(policy, without)
    assert np.isfinite(PolicyGradient(old="current")(policy, without)[0].value)
    assert np.isfinite(PolicyGradient(surrogate="reinforce")(policy, without)[0].value)
    with pytest.raises(InputError, match="expected \\(B, G, T\\); set data.task to the task 'group'"):
        PolicyGradient()(BigramPolicy(random_table()), random_batch())
    with pytest.raises(InputError, match=r"objective\.dual_clip=3\.0: surrogate 'cispo' has no use for it"):
        PolicyGradient(surrogate="cispo", dual_clip=3.0)
    with pytest.raises(InputError, match="compares with a reference policy, got None"):
        PolicyGradient(kl_weight=0.1)(policy, batch)
    assert not PolicyGradient().needs_reference
    assert surrogate_losses(
        "reinforce", jnp.zeros(2), jnp.zeros(2), jnp.ones(2), mean=lambda x: x, total=lambda x: x
    ).shape == (2,)
