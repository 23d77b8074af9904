"""Run by an interpreter with torch: objectives in float64 from their formulas, text by text, with autograd's gradients.

`python objectives_with_torch.py IN.npz OUT.npz`. IN holds `KIND/NAME` for the kinds single, pair, group and two: the
arrays of a batch, the policy's logits `[*B, T, V]` of the token at t, and the reference's. OUT holds `CASE/value` and
`CASE/gradient`, that of the mean loss on the policy's logits. Nothing of mtjax is imported: what is a target, what
belongs to a text and how losses are averaged is written here once more, in plain loops.
"""

import sys

import numpy as np
import torch
from torch.nn.functional import logsigmoid, relu, softplus


class Text:
    """One packed text: its targets' places, weights and log-probabilities, and what is said of it."""

    def __init__(self, batch, where, number):
        self.batch, self.where, self.number = batch, where, number
        segments, weights = batch.np["segments"][where], batch.np["weights"][where]
        inside = np.flatnonzero(segments == number)
        self.places = [t for t in inside[1:] if weights[t] != 0]  # nothing predicts the first token
        self.last = int(inside[-1]) if len(inside) else 0
        self.w = torch.tensor([float(weights[t]) for t in self.places])

    def of(self, values):
        """Numbers `[*B, T]` at the targets."""
        return values[self.where][self.places] if self.places else torch.zeros(0)

    def extra(self, name):
        return float(self.batch.np[f"segment_{name}"][(*self.where, self.number - 1)])

    def ratio(self, sampler="reference"):
        mu = self.batch.ref if sampler == "reference" else self.batch.recorded
        return self.of(self.batch.logp) - self.of(mu).detach()

    logp = property(lambda self: (self.w * self.of(self.batch.logp)).sum())
    ref = property(lambda self: (self.w * self.of(self.batch.ref)).sum())
    size = property(lambda self: self.w.abs().sum())
    live = property(lambda self: bool(self.places))
    right = property(lambda self: self.extra("polarity") > 0.5)
    h = property(lambda self: self.logp - self.ref)


class Data:
    """A batch: arrays by name, log-probabilities, and its texts by side."""

    def __init__(self, arrays):
        self.np = arrays
        self.logits = torch.tensor(arrays["logits"], dtype=torch.float64, requires_grad=True)
        self.ref_logits = torch.tensor(arrays["reference"], dtype=torch.float64)
        tokens = torch.tensor(arrays["tokens"], dtype=torch.int64)[..., None]
        taken = lambda logits: torch.log_softmax(logits, -1).gather(-1, tokens)[..., 0]
        self.logp, self.ref = taken(self.logits), taken(self.ref_logits)
        self.recorded = torch.tensor(arrays["sampled_logprob"], dtype=torch.float64)
        count = arrays["segment_id"].shape[-1]
        self.sides = 1 if arrays["tokens"].ndim == 2 else arrays["tokens"].shape[1]
        rows = range(arrays["tokens"].shape[0])
        where = lambda row, side: (row,) if arrays["tokens"].ndim == 2 else (row, side)
        self.sets = [
            [Text(self, where(row, side), number) for side in range(self.sides)]
            for row in rows
            for number in range(1, count + 1)
        ]
        self.texts = [text for one in self.sets for text in one if text.live]
        self.complete = [one for one in self.sets if all(text.live for text in one)]


def mean(values):
    return torch.stack(list(values)).mean()


def reduced(d, loss, how, keep=lambda text: True, length=1.0):
    """`loss(text)` gives the losses of its targets; the four reductions."""
    texts = [text for text in d.texts if keep(text)]
    sums = [(text.w * loss(text)).sum() for text in texts]
    sizes = [text.size for text in texts]
    if how == "token_mean":
        return sum(sums) / sum(sizes)
    if how == "sequence_mean":
        return mean(one / size for one, size in zip(sums, sizes, strict=True))
    return mean(sums) / (length if how == "constant" else 1.0)


def tokens(d, per_token, keep=lambda text: True):
    """Mean by weight over targets of `per_token(logits, token, reference logits)`, from rows of logits."""

    def loss(text):
        ids = d.np["tokens"][text.where]
        rows = [(d.logits[text.where][t], int(ids[t]), d.ref_logits[text.where][t]) for t in text.places]
        return torch.stack([per_token(*row) for row in rows])

    return reduced(d, loss, "token_mean", keep)


def margin_of(z, y, c):
    return torch.stack([z[v] - z[y] + (c if v != y else 0.0) for v in range(len(z))])


def ldr(lam, c):
    return lambda z, y, _: lam * (torch.logsumexp(margin_of(z, y, c) / lam, 0) - np.log(len(z)))


def ldr_top(k, c):
    return lambda z, y, _: torch.sort(margin_of(z, y, c), descending=True).values[:k].mean()


def aldr(lam0, alpha, c):
    """The maximum over a fine grid of temperatures, refined; its gradient is that at the maximum."""

    def loss(z, y, _):
        m = margin_of(z, y, c)
        value = lambda lam: (
            lam * (torch.logsumexp(m / lam, 0) - np.log(len(z)))
            - (alpha * np.log(len(z)) / (2 * lam0) * (lam - lam0) ** 2)
        )
        low, high = lam0 * (1 - 1 / alpha), lam0
        for _ in range(6):
            grid = np.linspace(low, high, 41)
            best = int(np.argmax([float(value(lam).detach()) for lam in grid]))
            low, high = grid[max(best - 1, 0)], grid[min(best + 1, 40)]
        return value((low + high) / 2)

    return loss


def cringe_token(k, detach=False):
    def loss(z, y, _):
        others = torch.stack([z[v] for v in range(len(z)) if v != y])
        best = torch.sort(others, descending=True).values[:k]
        share = torch.softmax(best, 0).detach()
        best = best.detach() if detach else best
        return (share * softplus(z[y] - best)).sum()

    return loss


def cringe(d, k, weight, detach=False):
    total, count = 0.0, 0.0
    for text in d.texts:
        ids = d.np["tokens"][text.where]
        factor = 1.0 if text.right else weight
        rows = [(d.logits[text.where][t], int(ids[t]), None) for t in text.places]
        own = -text.of(d.logp) if text.right else torch.stack([cringe_token(k, detach)(*row) for row in rows])
        total, count = total + factor * (text.w * own).sum(), count + factor * text.w.sum()
    return total / count


def pairwise_cringe(d, k, weight, bound, temperature):
    losses = []
    for w, r in d.complete:
        ids = d.np["tokens"][r.where]
        rows = [(d.logits[r.where][t], int(ids[t]), None) for t in r.places]
        contrast = (r.w * torch.stack([cringe_token(k)(*row) for row in rows])).sum() / r.size
        gate = torch.sigmoid((bound - (w.logp - r.logp)) / temperature).detach()
        losses.append(gate * (weight * contrast - w.logp / w.size))
    return mean(losses)


def aot(d, beta, form, e):
    f = lambda x: -(1 - e) * logsigmoid(beta * x) - e * logsigmoid(-beta * x)
    w, r = (torch.stack([pair[side].logp for pair in d.complete]) for side in (0, 1))
    qw, qr = (torch.stack([pair[side].ref for pair in d.complete]) for side in (0, 1))
    a, b = (w - r, qw - qr) if form == "paired" else (w - qw, r - qr)
    return f(torch.sort(a).values - torch.sort(b).values).mean()


def beta_dpo(d, beta, scale, keep, moments=None):
    m = torch.stack([w.h - r.h for w, r in d.complete])
    center, deviation = (m.mean(), m.std(unbiased=False)) if moments is None else moments
    score = -(((m - center) / deviation) ** 2).detach()
    kept = torch.argsort(score, descending=True, stable=True)[: int(keep * len(m) + 1e-6)]
    own = max(beta * (1 + scale * float(m[kept].mean() - center)), 1e-3)
    return -logsigmoid(own * m[kept]).mean()


def bco(d, beta, shift=None):
    rewards = torch.stack([beta * text.h for text in d.texts])
    shift = rewards.mean().detach() if shift is None else shift
    sign = torch.tensor([1.0 if text.right else -1.0 for text in d.texts])
    return -logsigmoid(sign * (rewards - shift)).mean()


def nft(d, omega, how, length=1.0, weight=1.0, sampler="reference"):
    def loss(text):
        r, ratio = min(max(text.extra("success_rate"), 0.02), 0.98), torch.exp(text.ratio(sampler).clamp(max=10))
        factor = {"fails": 1 - r, "odds": ((1 - r) / r) ** 0.5, "one": 1.0}[omega]
        if text.right:
            return -factor * torch.log(ratio)
        x = (1 - r * ratio) / (1 - r)
        return -weight * factor * torch.log(x + (x.clamp(min=1) - x).detach())  # straight-through

    return reduced(d, loss, how, lambda text: 0 < text.extra("success_rate") < 1, length)


def w_reinforce(d, right, wrong, low, high, dual, how, length=1.0):
    def loss(text):
        ratio = torch.exp(text.ratio())
        a = right if text.right else -wrong
        own = torch.maximum(-a * ratio, -a * ratio.clamp(1 - low, 1 + high))
        return torch.minimum(own, torch.tensor(-a * dual)) if a < 0 else own

    return reduced(d, loss, how, length=length)


def topr(d, form, wrong, sampler="reference"):
    if form == "sequence":
        taper = lambda text: torch.exp((text.w.abs() * text.ratio(sampler)).sum().clamp(max=0)).detach()
        return mean(-text.logp if text.right else wrong * taper(text) * text.logp for text in d.texts)
    taper = lambda text: torch.exp(text.ratio(sampler).clamp(max=0)).detach()
    return reduced(
        d, lambda text: -text.of(d.logp) if text.right else wrong * taper(text) * text.of(d.logp), "token_mean"
    )


def asymre(d, delta, baseline):
    reward = lambda text: float(text.right)
    batch = np.mean([reward(text) for text in d.texts])
    value = lambda text: (batch if baseline == "batch" else text.extra("success_rate")) + delta
    return mean(-(reward(text) - value(text)) * text.logp for text in d.texts)


def mml(d, beta, marginal, each, how="sum"):
    losses = []
    for members in d.sets:
        own = [text.logp for text in members if text.live and text.right]
        if own:
            own = torch.stack(own)
            both = own.sum() if how == "sum" else own.mean()
            losses.append(-marginal * torch.logsumexp(beta * own, 0) / beta - each * both)
    return mean(losses)


def values_of(d):
    """The value head of these tests: the hyperbolic tangent of the first logit."""
    return torch.tanh(d.logits[..., 0])


def alphamath(d, weight, epsilon):
    right = [text for text in d.texts if text.right]
    nll = -sum(text.logp for text in right) / sum(text.w.sum() for text in right)
    said, total, count = values_of(d), 0.0, 0.0
    for text in d.texts:
        inside = d.np["segments"][text.where] == text.number
        u = torch.tensor(d.np["value_weight"][text.where] * inside)
        goal = torch.tensor(d.np["value_target"][text.where])
        total, count = total + (u * (said[text.where] - goal) ** 2).sum(), count + u.sum()
    return nll + weight * total / (count + epsilon)


def process_reward(d, wrong):
    total, count = 0.0, 0.0
    for text in d.texts:
        for t, w in zip(text.places, text.w, strict=True):
            z = d.logits[text.where][t]
            x = z[int(text.extra("right_token"))] - z[int(text.extra("wrong_token"))]
            factor = w if w > 0 else -wrong * w
            total, count = total + factor * softplus(-x if w > 0 else x), count + factor
    return total / count


def self_reflection(d, ratio, margin, pooling):
    def state(text):
        rows = d.logits[text.where]  # hidden states of these tests
        return rows[text.last] if pooling == "last" else rows[text.places].mean(0)

    anchors = [one[0] for one in d.sets if one[0].live]
    nll = -sum(text.logp for text in anchors) / sum(len(text.places) for text in anchors)
    cos = lambda a, b: a @ b / (a.norm() * b.norm())
    hidden = [[state(text) for text in one] for one in d.complete]
    return nll + ratio * mean(relu(margin - cos(a, p) + cos(a, n)) for a, p, n in hidden)


def policy(d, surrogate, how, length=1.0, low=0.2, high=0.28, **s):
    def loss(text):
        a, pi = text.extra("advantage"), text.of(d.logp)
        diff = pi - text.of(d.recorded)
        ratio, w = torch.exp(diff), text.w.abs()
        average = (w * diff).sum() / w.sum()
        clipped = lambda x: torch.maximum(-a * x, -a * x.clamp(1 - low, 1 + high))
        if surrogate == "reinforce":
            return -a * pi
        if surrogate == "ppo":
            free = ratio.clamp(max=s["cap"]) if "cap" in s else ratio
            own = torch.maximum(-a * free, -a * ratio.clamp(1 - low, 1 + high))
            return torch.minimum(own, torch.full_like(own, -a * s["dual"])) if a < 0 and "dual" in s else own
        if surrogate == "gspo":  # of texts: with sequence_mean every token has the loss of its text
            return clipped(torch.exp(average)).expand(len(pi))
        if surrogate == "gmpo":
            own = diff.clamp(max=high) if a > 0 else diff.clamp(min=-low)
            return (-a * torch.exp((w * own).sum() / w.sum())).expand(len(pi))
        if surrogate == "sapo":
            tau = 1.0 if a > 0 else 1.05
            return -a * torch.sigmoid(tau * (ratio - 1)) * 4 / tau
        if surrogate == "cispo":
            return -ratio.clamp(max=5.0).detach() * a * pi
        if surrogate == "cispo_band":
            return -ratio.clamp(1 - low, 1 + high).detach() * a * pi
        if surrogate == "vespo":
            k, lam = (2.0, 3.0) if a >= 0 else (3.0, 2.0)
            whole = torch.exp((w * diff).sum())
            return -(whole**k * torch.exp(lam * (1 - whole))).detach() * a * pi
        taper = torch.exp((w * diff).sum().clamp(max=0)) if surrogate == "topr" else ratio.clamp(max=1)
        return -(1.0 if a > 0 else taper.detach()) * a * pi

    return reduced(d, loss, how, length=length)


def tpo(d, beta, gamma, weight, means, unit):
    score = lambda text: text.logp / text.size if means else text.logp
    pairs = mean(-logsigmoid(beta * (score(w) - score(r)) - gamma) for _, w, r in d.complete)
    gold = [one[0] for one in d.complete]
    each = mean(-text.logp / text.size for text in gold)
    return pairs + weight * (each if unit == "triple" else -sum(t.logp for t in gold) / sum(t.size for t in gold))


def xpo(d, beta, optimism, kind):
    losses = []
    for a, b in d.complete:
        if a.extra("reward") != b.extra("reward"):
            w, r = (a, b) if a.extra("reward") > b.extra("reward") else (b, a)
            m = w.h - r.h
            own = -logsigmoid(beta * m) if kind == "sigmoid" else (m - 1 / (2 * beta)) ** 2
            losses.append(own + optimism * b.logp)
    return mean(losses)


def kl(p, q):
    return (p.exp() * (p - q)).sum()


def asft(weight, direction):
    def loss(z, y, ref):
        p, q = torch.log_softmax(z, 0), torch.log_softmax(ref, 0)
        return -p[y].exp().detach() * p[y] + weight * (kl(q, p) if direction == "forward" else kl(p, q))

    return loss


def gem(beta, kind):
    def loss(z, y, _):
        q, p = torch.softmax(z / beta, 0).detach(), torch.log_softmax(z, 0)
        w = torch.ones_like(z) if kind == "linear" else torch.sigmoid(0.01 * (z - z[y])).detach()
        return -(q * w * (p[y] - p)).sum()

    return loss


def smoothed(e):
    return lambda z, y, _: -(1 - e) * torch.log_softmax(z, 0)[y] - e * torch.log_softmax(z, 0).mean()


log = lambda z, y: torch.log_softmax(z, 0)[y]
SURROGATES = ("reinforce", "ppo", "cispo", "cispo_band", "sapo", "vespo", "topr", "topr_token")
CASES = {
    "psft": ("single", lambda d: reduced(d, lambda t: -torch.exp(t.ratio()).clamp(max=1.3), "token_mean")),
    "ldr": ("single", lambda d: tokens(d, ldr(0.7, 0.2))),
    "ldr_top": ("single", lambda d: tokens(d, ldr_top(3, 0.5))),
    "aldr": ("single", lambda d: tokens(d, aldr(1.3, 3.0, 0.2))),
    "dft": ("single", lambda d: tokens(d, lambda z, y, _: -log(z, y).exp().detach() * log(z, y))),
    "focal": ("single", lambda d: tokens(d, lambda z, y, _: -((1 - log(z, y).exp()) ** 1.5) * log(z, y))),
    "gce": ("single", lambda d: tokens(d, lambda z, y, _: (1 - log(z, y).exp() ** 0.35) / 0.35)),
    "gem_linear": ("single", lambda d: tokens(d, gem(0.6, "linear"))),
    "gem": ("single", lambda d: tokens(d, gem(0.6, "logsigmoid"))),
    "label_smoothing": ("single", lambda d: tokens(d, smoothed(0.15))),
    "asft": ("single", lambda d: tokens(d, asft(0.3, "forward"))),
    "asft_reverse": ("single", lambda d: tokens(d, asft(0.3, "reverse"))),
    "cringe": ("single", lambda d: cringe(d, 1, 0.6)),
    "cringe_top": ("single", lambda d: cringe(d, 3, 1.5, detach=True)),
    "asymre": ("single", lambda d: asymre(d, -0.15, "batch")),
    "asymre_rate": ("single", lambda d: asymre(d, 0.05, "success_rate")),
    "topr": ("single", lambda d: topr(d, "sequence", 0.7)),
    "topr_token": ("single", lambda d: topr(d, "token", 0.7, "recorded")),
    "nft": ("single", lambda d: nft(d, "fails", "constant", 40.0)),
    "nft_odds": ("single", lambda d: nft(d, "odds", "sequence_mean", weight=0.4, sampler="recorded")),
    "nft_one": ("single", lambda d: nft(d, "one", "sequence_sum")),
    "w_reinforce": ("single", lambda d: w_reinforce(d, 0.3, 1.2, 0.1, 0.25, 2.0, "token_mean")),
    "w_reinforce_constant": ("single", lambda d: w_reinforce(d, 0.3, 1.2, 0.1, 0.25, 2.0, "constant", 30.0)),
    "mml": ("group", lambda d: mml(d, 0.4, 0.8, 0.3)),
    "mml_each": ("group", lambda d: mml(d, 1.0, 0.5, 2.0, "mean")),
    "alphamath": ("single", lambda d: alphamath(d, 0.3, 0.01)),
    "process_reward": ("signed", lambda d: process_reward(d, 1.7)),
    "self_reflection": ("group", lambda d: self_reflection(d, 0.6, 0.8, "last")),
    "self_reflection_mean": ("group", lambda d: self_reflection(d, 0.4, 1.1, "mean")),
    "bco": ("single", lambda d: bco(d, 0.3)),
    "bco_running": ("single", lambda d: bco(d, 0.3, 0.3 * -0.45)),
    "aot": ("pair", lambda d: aot(d, 0.2, "paired", 0.1)),
    "aot_unpaired": ("pair", lambda d: aot(d, 0.2, "unpaired", 0.0)),
    "beta_dpo": ("pair", lambda d: beta_dpo(d, 0.15, 0.5, 0.7)),
    "beta_dpo_running": ("pair", lambda d: beta_dpo(d, 0.15, 0.5, 0.7, (0.3, 0.9))),
    "pairwise_cringe": ("pair", lambda d: pairwise_cringe(d, 2, 0.8, -2.0, 3.0)),
    "tpo": ("group", lambda d: tpo(d, 0.07, 0.0, 0.6, False, "token")),
    "tpo_mean": ("group", lambda d: tpo(d, 1.5, 0.4, 0.9, True, "triple")),
    "xpo": ("two", lambda d: xpo(d, 0.25, 0.02, "sigmoid")),
    "xpo_ipo": ("two", lambda d: xpo(d, 0.25, 0.0, "ipo")),
    "policy_ppo_bounded": ("group", lambda d: policy(d, "ppo", "token_mean", low=0.1, high=0.3, cap=1.6, dual=1.4)),
    "policy_gspo": ("group", lambda d: policy(d, "gspo", "sequence_mean", low=0.05, high=0.06)),
    "policy_gmpo": ("group", lambda d: policy(d, "gmpo", "sequence_mean", low=0.15, high=0.2)),
}
for number, kind in enumerate(SURROGATES):
    how = ("token_mean", "sequence_mean", "sequence_sum", "constant")[number % 4]
    CASES[f"policy_{kind}"] = ("group", lambda d, kind=kind, how=how: policy(d, kind, how, 12.0))


def main(read, write):
    """Every case on its batch."""
    torch.set_default_dtype(torch.float64)
    found, out = np.load(read), {}
    for name, (kind, loss) in CASES.items():
        d = Data({key.split("/", 1)[1]: found[key] for key in found.files if key.startswith(f"{kind}/")})
        value = loss(d)
        value.backward()
        out[f"{name}/value"], out[f"{name}/gradient"] = value.detach().numpy(), d.logits.grad.numpy()
    np.savez(write, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
