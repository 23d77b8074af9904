"""Unlabelled data help: a mixture of Gaussians learnt without labels, and a few labels on top (paper 21).

Command:  python docs/examples/papers/pretrain_helps.py
Expect:   with 12 labels the error is about 0.20 from labels alone, and falls to 0.06 with unlabelled examples, of which
          0.05 are flipped labels.

Maximum likelihood on m unlabelled examples finds the clusters (EM with unit variance); the label of a cluster is the
majority of the n labelled examples in it. The excess risk is bounded by `sqrt(C1 / m) + sqrt(C2 / n)`: C2 counts labels
of clusters and not dimensions, so a few labels are enough once m is large.

Source: arXiv 2303.01566, read in abstract.
"""

import numpy as np

CLUSTERS, DIMENSIONS, LABELLED, FLIPPED = 4, 40, 12, 0.05


def drawn(rng, centres, labels, number):
    """Examples and their labels, some of which are flipped."""
    cluster = rng.integers(0, CLUSTERS, number)
    wrong = rng.random(number) < FLIPPED
    return centres[cluster] + rng.normal(size=(number, DIMENSIONS)), labels[cluster] ^ wrong


def mixture(x, start, rounds=30):
    """EM for the centres of a mixture with unit variance, from `start`."""
    centres = start.copy()
    for _ in range(rounds):
        distance = ((x[:, None] - centres[None]) ** 2).sum(-1)
        share = np.exp(-(distance - distance.min(1, keepdims=True)) / 2)
        share /= share.sum(1, keepdims=True)
        centres = share.T @ x / np.maximum(share.sum(0), 1e-9)[:, None]
    return centres


def likeliest(x, rng, tries=8):
    """The centres with the highest likelihood of several starts, each spread out over the data."""
    found = []
    for _ in range(tries):
        start = [x[rng.integers(len(x))]]
        while len(start) < CLUSTERS:
            far = np.min([((x - one) ** 2).sum(1) for one in start], 0)
            start.append(x[rng.choice(len(x), p=far / far.sum())])
        centres = mixture(x, np.array(start))
        distance = ((x[:, None] - centres[None]) ** 2).sum(-1)
        found.append((np.logaddexp.reduce(-distance / 2, 1).mean(), centres))
    return max(found, key=lambda one: one[0])[1]


def error(unlabelled, seed):
    """The error on new examples, from `unlabelled` examples and LABELLED labels; 0 for least squares on the labels."""
    rng = np.random.default_rng(seed)
    centres, labels = rng.normal(size=(CLUSTERS, DIMENSIONS)) * 0.6, np.arange(CLUSTERS) % 2 == 0
    x, y = drawn(rng, centres, labels, LABELLED)
    test, wanted = drawn(rng, centres, labels, 4000)
    if not unlabelled:
        with_one = lambda x: np.concatenate([x, np.ones((len(x), 1))], 1)
        a = with_one(x)
        weights = a.T @ np.linalg.solve(a @ a.T + 0.1 * np.eye(len(a)), 2.0 * y - 1)
        return float(((with_one(test) @ weights > 0) != wanted).mean())
    learnt = likeliest(np.concatenate([drawn(rng, centres, labels, unlabelled)[0], x]), rng)
    near = lambda x: ((x[:, None] - learnt[None]) ** 2).sum(-1).argmin(1)
    votes = np.array([(2 * y[near(x) == k] - 1).sum() for k in range(CLUSTERS)])
    return float(((votes > 0)[near(test)] != wanted).mean())


def main(seeds=10):
    """The mean error for several numbers of unlabelled examples; returns it by number."""
    found = {m: float(np.mean([error(m, seed) for seed in range(seeds)])) for m in (0, 50, 200, 1000)}
    for m, value in found.items():
        print(f"{LABELLED} labels, {m:>4} unlabelled: error {value:.3f}" + ("" if m else " (labels alone)"))
    return found


if __name__ == "__main__":
    main()
