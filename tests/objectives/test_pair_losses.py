"""Every kind of pair loss: golden values in float64, slopes, extremes in float32, and the settings of `dpo`."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives import pair_losses
from mtjax.objectives.dpo import Dpo, dpo_loss, dpop, iterative_rpo, mpo, rpo, wpo
from tests.objectives.fakes import BigramPolicy, batch_of, outcome

# Log-ratios (chosen, rejected) and beta of the three columns; then loss and both slopes in each.
POINTS = ((1.0, -1.0, 0.1), (-0.5, -2.0, 0.1), (-3.0, 0.5, 0.4))
GOLDEN = {
    ("exo", "label_smoothing", 1e-3): [
        (2.422015, -0.1660033, 0.1660033), (2.505517, -0.1679723, 0.1679723), (5.044128, -0.5272626, 0.5272626)
    ],
    ("nca",): [
        (1.338793, -0.02125312, 0.02375104), (1.351759, -0.02687461, 0.0225083), (1.993993, -0.2611149, 0.1099668)
    ],
    ("bco",): [
        (1.288793, -0.04750208, 0.04750208), (1.316599, -0.05124974, 0.0450166), (2.261421, -0.3074099, 0.2199336)
    ],
    ("bco", "shift", 0.05): [
        (1.289417, -0.04875026, 0.04625702), (1.320336, -0.05249792, 0.04378235), (2.272886, -0.3109199, 0.2149719)
    ],
    ("sppo_hard",): [(32, -8, 8), (39.25, -11, 6), (21.125, -8.5, 3.5)],
    ("sppo", "win_rate", 0.8): [(4, -2, 2), (6.625, -3.5, 1), (7.8125, -3.75, 1.25)],
    ("apo_zero",): [
        (0.9500416, -0.0249376, 0.0249376), (0.9626634, -0.02498438, 0.02475166), (1.318359, -0.07115778, 0.09900663)
    ],
    ("apo_down",): [
        (0.9751452, 0.0001859467, 0.02475166), (0.9500728, 0.0001244808, 0.0248599), (1.033659, 0.007683817, 0.06347396)
    ],
    ("discopop",): [
        (0.8147631, -0.07341767, 0.07341767), (0.8493376, -0.0625203, 0.0625203), (1.620417, -0.3208736, 0.3208736)
    ],
    ("cal_dpo",): [
        (16.12693, -4.119203, 4.119203), (19.82641, -5.682426, 3.182426), (14.09225, -5.220688, 2.720688)
    ],
}  # fmt: skip
DIVERGENCES = {
    ("js", 0.5): [
        (0.6443967, -0.01277528, 0.0347268), (0.637165, -0.02933094, 0.04150409), (1.335137, -0.2807723, 0.1112806)
    ],
    ("forward_kl", 0.5): [
        (0.5825167, -0.01624221, 0.1200146), (0.4467663, -0.05940452, 0.2662326), (7.792016, -8.030896, 0.2425121)
    ],
    ("alpha", 0.3): [
        (0.5967834, -0.03329387, 0.06066538), (0.5891428, -0.05172455, 0.08112024), (2.243953, -0.8795162, 0.3077759)
    ],
}  # fmt: skip


def numpy_loss(kind, w, r, beta, label_smoothing=0.0, shift=0.0, win_rate=1.0, tau=0.05):
    """The formulas once more, in float64 and without care for overflow."""
    s, ls = lambda x: 1 / (1 + np.exp(-x)), lambda x: -np.log1p(np.exp(-x))
    m, e = beta * (w - r), label_smoothing
    squares = lambda p: (w - (p - 0.5) / beta) ** 2 + (r - (0.5 - p) / beta) ** 2
    return {
        "sigmoid": lambda: -(1 - e) * ls(m) - e * ls(-m),
        "robust": lambda: (-(1 - e) * ls(m) + e * ls(-m)) / (1 - 2 * e),
        "ipo": lambda: (w - r - 0.5 / beta) ** 2,
        "hinge": lambda: np.maximum(0, 1 - m),
        "exo": lambda: s(m) * (ls(m) - np.log(1 - e)) + s(-m) * (ls(-m) - np.log(e)),
        "nca": lambda: -ls(beta * w) - ls(-beta * w) / 2 - ls(-beta * r) / 2,
        "bco": lambda: -ls(beta * w - shift) - ls(-(beta * r - shift)),
        "sppo_hard": lambda: squares(1.0),
        "sppo": lambda: squares(win_rate) / 2,
        "apo_zero": lambda: 1 - s(beta * w) + s(beta * r),
        "apo_down": lambda: s(beta * w) + 1 - s(m),
        "discopop": lambda: (1 - s(m / tau)) * -ls(m) + s(m / tau) * np.exp(-m),
        "cal_dpo": lambda: -ls(w - r) + squares(1.0) / 2,
    }[kind]()


@functools.partial(jax.jit, static_argnums=(0, 4))
def value_and_slopes(kind, w, r, beta, options=()):
    total = lambda w, r: jnp.sum(dpo_loss(w, r, beta=beta, kind=kind, **dict(options)))
    return dpo_loss(w, r, beta=beta, kind=kind, **dict(options)), *jax.grad(total, (0, 1))(w, r)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: "-".join(map(str, case)))
def test_golden_values_and_slopes_and_others_against_numpy(case):
    kind, options = case[0], ((case[1], case[2]),) if case[1:] else ()
    w, r, beta = np.array(POINTS).T
    more = np.random.default_rng(0).normal(size=(2, 9)) * 4
    w, r, beta = np.append(w, more[0]), np.append(r, more[1]), np.append(beta, np.linspace(0.02, 1, 9))
    with jax.enable_x64(True):
        found = value_and_slopes(kind, w, r, beta, options)
    np.testing.assert_allclose(np.stack(found, -1)[:3], GOLDEN[case], rtol=1e-6, atol=5e-8)
    loss = functools.partial(numpy_loss, kind, beta=beta, **dict(options))
    step = 1e-6
    slopes = [(loss(w + step, r) - loss(w - step, r)) / 2 / step, (loss(w, r + step) - loss(w, r - step)) / 2 / step]
    np.testing.assert_allclose(found[0], loss(w, r), rtol=1e-9)
    np.testing.assert_allclose(found[1:], slopes, rtol=1e-5, atol=1e-6)


def test_every_kind_is_finite_at_the_extremes_and_known_at_the_reference():
    h = jnp.asarray([-1e4, -300.0, -100.0, 0.0, 100.0, 300.0, 1e4], jnp.float32)
    w, r = (x.ravel() for x in jnp.meshgrid(h, h))
    for kind in pair_losses.KINDS:
        options = (("label_smoothing", 1e-3),) if kind == "exo" else ()
        found = value_and_slopes(kind, w, r, jnp.float32(0.1), options)
        assert all(np.isfinite(one).all() for one in found), kind
        at = Dpo(kind=kind, beta=0.1, **dict(options)).at_reference
        np.testing.assert_allclose(found[0][24], at, rtol=1e-6)  # h = 0 on both sides
        if kind in pair_losses.MARGIN_ONLY:  # moving both sides changes nothing
            moved = value_and_slopes(kind, w + 2, r + 2, jnp.float32(0.1), options)[0]
            np.testing.assert_allclose(moved, found[0], rtol=1e-3, atol=1e-3)
    for divergence in ("forward_kl", "js", "alpha"):
        slope = jax.vmap(jax.value_and_grad(lambda h, d=divergence: pair_losses.score(h, d, 0.5)))(h)
        assert np.isfinite(slope).all()


def test_slopes_at_the_reference():
    """The table of the note: chosen and rejected, in units of beta, at beta 0.1."""
    for kind, w, r in (
        ("nca", -0.25, 0.25), ("bco", -0.5, 0.5), ("sppo_hard", -100, 100), ("sppo", -50, 50),
        ("apo_zero", -0.25, 0.25), ("apo_down", 0, 0.25), ("discopop", 0.7843, -0.7843), ("exo", -1.72669, 1.72669),
    ):  # fmt: skip
        options = (("label_smoothing", 1e-3),) if kind == "exo" else ()
        with jax.enable_x64(True):
            _, *found = value_and_slopes(kind, *(np.zeros(12), np.zeros(12), np.full(12, 0.1)), options)
        np.testing.assert_allclose([found[0][0], found[1][0]], [0.1 * w, 0.1 * r], rtol=1e-4, atol=1e-9)
    # discopop rises where it should fall, and the run says so.
    values = [float(dpo_loss(x, 0.0, beta=1.0, kind="discopop")) for x in (-0.119, 0.0, 0.072, 0.2)]
    np.testing.assert_allclose(values, [0.7859, 0.8466, 0.8783, 0.8148], atol=1e-4)
    assert "wrong slope" in Dpo(kind="discopop").note


@pytest.mark.parametrize("case", DIVERGENCES, ids=lambda case: case[0])
def test_divergences(case):
    divergence, alpha = case
    w, r, beta = np.array(POINTS).T
    score = functools.partial(pair_losses.score, divergence=divergence, alpha=alpha)
    with jax.enable_x64(True):
        loss = lambda w, r: dpo_loss(score(w), score(r), beta=beta)
        found = loss(w, r), *jax.jit(jax.grad(lambda w, r: loss(w, r).sum(), (0, 1)))(w, r)
    np.testing.assert_allclose(np.stack(found, -1), DIVERGENCES[case], rtol=1e-6)


def test_the_two_alphas_and_the_limit_of_alpha():
    h = np.array([-2.0, 0.5, 3.0])
    trl = lambda h, c: np.expm1((c - 1) * h) / (c - 1)  # TRL's form; c = 1 - alpha
    np.testing.assert_allclose(pair_losses.score(h, "alpha", 0.7), trl(h, 0.3), rtol=1e-6)
    np.testing.assert_allclose(pair_losses.score(h, "alpha", 1e-6), h, rtol=1e-4)


def logprobs(objective, policy, reference):
    """The loss of one pair from its tokens' log-probabilities."""
    batch, ours = batch_of(policy)
    return float(outcome(objective, ours, batch, batch_of(reference)[1]).loss.value)


def test_the_longer_text_counts_less_beyond_the_shorter():
    policy, reference = ([-1.0, -0.5, -2.0, -0.5], [-1.5, -2.0]), ([-1.5, -0.5, -1.5, -1.0], [-1.0, -1.5])
    loss = lambda **settings: logprobs(Dpo(**settings), policy, reference)
    np.testing.assert_allclose(loss(tail_weight=0.5), 0.6209570478, rtol=1e-6)
    np.testing.assert_allclose(loss(tail_weight=0.5, tail_on="policy"), 0.5650706677, rtol=1e-6)
    assert Dpo(tail_weight=0.5).at_reference == pytest.approx(math.log(2))
    assert Dpo(tail_weight=0.5, tail_on="policy").at_reference is None
    np.testing.assert_allclose(logprobs(Dpo(tail_weight=0.5), policy, policy), math.log(2), rtol=1e-6)
    assert logprobs(Dpo(tail_weight=1.0), policy, reference) == logprobs(Dpo(), policy, reference)


def test_a_chosen_text_that_falls_is_punished_from_its_first_nat():
    cases = ((1.0, -1.0, 0.1, 0.5981389), (-0.5, -2.0, 0.1, 0.7443967), (-3.0, 0.5, 0.4, 7.400611))
    for w, r, beta, expected in cases:
        found = logprobs(Dpo(beta=beta, chosen_penalty=5.0), ([w - 9.0], [r - 9.0]), ([-9.0], [-9.0]))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert dpop().chosen_penalty == 50
    with pytest.raises(InputError, match="chosen_penalty changes the margin, which kind='nca' has not"):
        Dpo(kind="nca", chosen_penalty=1.0)


def test_weights_of_pairs_by_hand():
    """Rows of logits: chosen [2, 1, 0, -1] with id 0 and [0, 0, 0, 0] with id 1, rejected [1, 1, 0, 0] with id 2."""
    never = [-60.0] * 7
    table = jnp.asarray([[2, 1, 0, -1, *never], [0, 0, 0, 0, *never], [1, 1, 0, 0, *never]] + [[0.0] * 11] * 8)
    # Previous tokens: 0 predicts with row 0, 1 with row 1, 2 with row 2. Chosen 0 -> 0, then a second segment's row.
    chosen, rejected = np.array([0, 0]), np.array([2, 2])
    weight = lambda logits, label: float(
        jax.nn.log_softmax(jnp.asarray(logits, jnp.float32))[label] - pair_losses.log_collision(jnp.asarray(logits))
    )
    w = math.exp((weight([2.0, 1, 0, -1], 0) + weight([0.0, 0, 0, 0], 1)) / 2) * math.exp(weight([1.0, 1, 0, 0], 2))
    np.testing.assert_allclose(w, 0.5137027728, rtol=1e-6)
    np.testing.assert_allclose(w * float(dpo_loss(2.0, 0.0, beta=0.1)), 0.3072655958, rtol=1e-6)
    # The same through the objective: one target on each side.
    batch, _ = batch_of(([-1.0], [-1.0]))
    tokens = np.zeros(batch.tokens.shape, np.int32)
    tokens[0, 0, :2], tokens[0, 1, :2] = chosen, rejected
    batch, policy = batch._replace(tokens=jnp.asarray(tokens)), BigramPolicy(table)
    aligned = outcome(Dpo(weight="aligned"), policy, batch, policy)
    expected = math.exp(weight([2.0, 1, 0, -1], 0) + weight([1.0, 1, 0, 0], 2))
    np.testing.assert_allclose(aligned.metrics["pair_weight"].value, expected, rtol=1e-5)
    np.testing.assert_allclose(aligned.loss.value, expected * math.log(2), rtol=1e-5)
    plain = outcome(Dpo(weight="plain", weight_max=0.05), policy, batch, policy)
    np.testing.assert_allclose(plain.loss.value, 0.05 * math.log(2), rtol=1e-6)
    # The weight has no gradient: that of the loss is the weight times DPO's.
    same = outcome(Dpo(), policy, batch, policy)
    np.testing.assert_allclose(aligned.gradient.table, expected * same.gradient.table, rtol=1e-5, atol=1e-8)
    assert wpo().weight == "aligned"


def test_a_cross_entropy_per_token_is_the_mean_over_chosen_tokens():
    """That any split of a batch gives the same is a contract test of the case `dpo-tail-nll`."""
    policy, reference = ([-1.0, -0.5, -2.0], [-1.5]), ([-1.0, -1.0, -1.0], [-1.0])
    batch, ours = batch_of(policy, ([-4.0], [-3.0, -1.0]))
    _, theirs = batch_of(reference, ([-1.0], [-1.0, -1.0]))
    loss = lambda **settings: outcome(Dpo(beta=0.1, **settings), ours, batch, theirs).loss.value
    plain = sum(math.log1p(math.exp(-x)) for x in (0.1 * (-0.5 + 0.5), 0.1 * (-3 + 2))) / 2
    np.testing.assert_allclose(loss(nll_weight=2.0), plain + 2 * (3.5 / 3 + 4) / 2, rtol=1e-6)
    np.testing.assert_allclose(loss(nll_weight=2.0, nll_unit="token"), plain + 2 * (3.5 + 4) / 4, rtol=1e-6)
    assert not hasattr(Dpo(nll_weight=1.0), "statistics")
    assert (rpo().nll_weight, rpo().nll_unit, iterative_rpo().nll_unit) == (0.005, "token", "pair")


def test_a_sum_of_losses():
    h = ([1.0 - 9], [-1.0 - 9]), ([-9.0], [-9.0])
    found = logprobs(Dpo(kind_weight=0.8, second_kind="bco", second_weight=0.2, nll_weight=1.0), *h)
    np.testing.assert_allclose(found, 0.8 * math.log1p(math.exp(-0.2)) + 0.2 * 1.288793 + 8.0, rtol=1e-6)
    assert mpo().second_weight == 0.2
    np.testing.assert_allclose(Dpo(kind_weight=0.8, second_weight=0.2).at_reference, 1.2 * math.log(2), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "exo"}, "kind='exo' needs label_smoothing > 0"),
        ({"kind": "nca", "label_smoothing": 0.1}, "label_smoothing=0.1 does nothing for kind='nca'"),
        ({"shift": 0.5}, "shift=0.5 does nothing for kind='sigmoid'; it belongs to 'bco'"),
        ({"second_kind": "exo", "second_weight": 1.0}, "kind='exo' needs label_smoothing"),
        ({"tail_weight": 2.0}, "tail_weight=2.0: expected at least 0 and at most 1"),
    ],
)
def test_settings_without_use_are_refused(settings, says):
    with pytest.raises(InputError, match=says):
        Dpo(**settings)
