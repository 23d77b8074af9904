"""A misspecified linear bandit whose parameter is sparse: elimination over sparse hypotheses (paper 9).

Command:  python docs/examples/papers/sparse_bandit.py
Expect:   arms within 4 epsilon of the best one, after far fewer pulls than there are hypotheses.

Rewards are `<theta, a> + eta(a)` with `|eta| <= epsilon` and s entries of theta that are not 0. Hypotheses are a net of
such vectors, in the order of the best value that each promises. The arm of the most promising one is pulled; hypotheses
that are off by more than 2 epsilon there are gone. The first one whose own arm keeps its promise is believed: a vector
near theta promises as much as the best arm gives, less epsilon, so nothing better is missed. That takes at most as many
pulls as there are hypotheses, of the order of `(d / epsilon)^s`, where methods that ignore sparsity pay `sqrt(d)` in
the error.

Source: arXiv 2303.16998, read in abstract; this algorithm is ours for its setting.
"""

import itertools

import numpy as np


def hypotheses(d, s, step):
    """A net of vectors with s entries from -1 to 1 and others 0, `[N, d]`."""
    grid = np.arange(-1, 1 + step / 2, step)
    found = []
    for support in itertools.combinations(range(d), s):
        values = np.array(list(itertools.product(grid, repeat=s)))
        full = np.zeros((len(values), d))
        full[:, support] = values
        found.append(full)
    return np.unique(np.concatenate(found), axis=0)


def eliminate(arms, pull, net, epsilon):
    """The arm that is believed to be best, and the number of pulls."""
    promised = net @ arms.T
    alive, seen = np.ones(len(net), bool), {}
    for number in np.argsort(-promised.max(1), kind="stable"):
        if not alive[number]:
            continue
        arm = int(promised[number].argmax())
        if arm not in seen:
            seen[arm] = pull(arm)
            alive &= np.abs(promised[:, arm] - seen[arm]) <= 2 * epsilon
        if alive[number]:
            return arm, len(seen)
    raise ValueError("no hypothesis is left: the misspecification is larger than epsilon, or the net too coarse")


def instance(d, s, epsilon, seed, number=400):
    """Arms of length 1, a pull of them, and the loss of each against the best."""
    rng = np.random.default_rng(seed)
    arms = rng.normal(size=(number, d))
    arms /= np.linalg.norm(arms, axis=1, keepdims=True)
    theta = np.zeros(d)
    theta[rng.choice(d, s, replace=False)] = rng.uniform(0.4, 0.9, s) * rng.choice([-1, 1], s)
    rewards = arms @ theta + rng.uniform(-epsilon, epsilon, number)
    return arms, lambda arm: rewards[arm], rewards.max() - rewards


def main():
    """Losses in units of epsilon, pulls and hypotheses for some sizes; returns them."""
    rows = []
    for d, s, epsilon in ((8, 1, 0.1), (8, 1, 0.05), (16, 1, 0.05), (6, 2, 0.2), (10, 2, 0.2)):
        net = hypotheses(d, s, step=epsilon / np.sqrt(s))
        losses, pulls = [], []
        for seed in range(5):
            arms, pull, lost = instance(d, s, epsilon, seed)
            arm, used = eliminate(arms, pull, net, epsilon)
            losses.append(lost[arm] / epsilon)
            pulls.append(used)
        rows.append((d, s, epsilon, max(losses), float(np.mean(pulls)), len(net)))
        print("d={} s={} epsilon={}: at most {:.1f} epsilon lost, {:.1f} pulls, {} hypotheses".format(*rows[-1]))
    return rows


if __name__ == "__main__":
    main()
