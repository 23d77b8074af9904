"""Follow the regularised leader with a log-barrier, whose losses may be as negative as they like (paper 40).

Command:  python docs/examples/papers/log_barrier.py
Expect:   after one loss of -1000 the other arms keep a thousandth each; exponential weights leave them nothing.

`p = argmin <p, L> - sum_i log(p_i) / eta` over the simplex: `p_i = 1 / (eta (L_i + lambda))`, with the lambda for which
they add up to 1, found by Newton's method. Estimates of losses by importance, `l / p` of the pulled arm, have no lower
bound where losses are negative. Exponential weights need `eta L >= -1`; the barrier does not, because an arm of
probability p changes by a factor of `1 + eta p |l / p|` at most.

Source: arXiv 2301.12942, read in abstract, which uses this for adversarial decision processes.
"""

import numpy as np


def barrier(losses, eta):
    """The distribution of FTRL with a log-barrier for cumulative losses."""
    losses = np.asarray(losses, float) - np.min(losses)
    low = 1 / eta  # the likeliest arm has probability 1 there, so the sum is at least 1; Newton comes from this side
    for _ in range(100):
        p = 1 / (eta * (losses + low))
        excess = p.sum() - 1
        if excess < 1e-14:
            break
        low += excess / (eta * (p**2).sum())
    return p / p.sum()


def exponential(losses, eta):
    """Exponential weights."""
    weights = np.exp(-eta * (np.asarray(losses) - np.min(losses)))
    return weights / weights.sum()


def play(rule, eta, rounds=4000, arms=5, seed=0):
    """The regret against the best arm, with losses of -1 or 0 of which only the pulled arm's is seen."""
    rng = np.random.default_rng(seed)
    means = np.array([0.55, *[0.45] * (arms - 1)])
    total, regret = np.zeros(arms), 0.0
    for _ in range(rounds):
        p = rule(total, eta)
        arm = rng.choice(arms, p=p)
        losses = -(rng.random(arms) < means).astype(float)
        total[arm] += losses[arm] / p[arm]
        regret += losses[arm] + means[0]
    return regret


def main():
    """What one large negative loss does, and the regret; returns both for the barrier and for exponential weights."""
    shocked = np.array([0.0, -1000.0, 0.0, 0.0, 0.0])
    least = {rule.__name__: float(rule(shocked, 1.0).min()) for rule in (barrier, exponential)}
    regret = {}
    for rule, eta in ((barrier, 0.2), (exponential, 0.05)):
        regret[rule.__name__] = [float(np.mean([play(rule, eta, n, seed=s) for s in range(4)])) for n in (1000, 4000)]
        print(f"{rule.__name__}: least probability after a loss of -1000 is {least[rule.__name__]:.1e};", end=" ")
        print("regret {:.0f} after 1000 rounds, {:.0f} after 4000".format(*regret[rule.__name__]))
    return least, regret


if __name__ == "__main__":
    main()
