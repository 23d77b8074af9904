"""Low regret in every group at once: an expert for each group, and sleeping experts over them (paper 56).

Command:  python docs/examples/papers/group_regret.py
Expect:   in each of two groups a loss near that of the group's own expert; one model for all is far off in both.

Every group has a learner of its own, here online ridge regression, which learns when its group is active; examples may
be in several groups, and one group holds all. A prediction is the mean of the active learners' with the weights of
AdaNormalHedge: for an expert with regret R so far and the sum C of its absolute regrets, the weight is
`(phi(R + 1, C + 1) - phi(R - 1, C + 1)) / 2` with `phi(R, C) = exp(max(R, 0)^2 / (3 C))`. Sleeping experts have none.

Source: arXiv 2310.04652, read in abstract; the weight is recalled from AdaNormalHedge (Luo and Schapire, 2015).
"""

import numpy as np


def hedge_weights(regret, absolute, active):
    """The weights of the active experts, which add up to 1."""
    power = lambda r: np.maximum(r, 0) ** 2 / (3 * (absolute + 1))
    above, below = power(regret + 1), power(regret - 1)
    top = above[active].max()  # exp(power - top) does not overflow
    weights = np.where(active, np.exp(above - top) - np.exp(below - top), 0)
    return weights / weights.sum() if weights.sum() > 0 else active / active.sum()


class Ridge:
    """Online ridge regression."""

    def __init__(self, inputs):
        self.matrix, self.vector = np.eye(inputs), np.zeros(inputs)

    def predict(self, x):
        """The prediction for x, from -1 to 1."""
        return float(np.clip(x @ np.linalg.solve(self.matrix, self.vector), -1, 1))

    def learn(self, x, y):
        """One example."""
        self.matrix += np.outer(x, x)
        self.vector += y * x


def main(rounds=2000, inputs=5, seed=0):
    """Losses per round in the second half, by group: of the mixture, of the group's own expert, and of one for all."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=inputs)
    truth /= 2 * np.linalg.norm(truth)
    experts = [Ridge(inputs) for _ in range(3)]  # group 0, group 1 and all
    regret, absolute = np.zeros(3), np.zeros(3)
    losses = np.zeros((rounds, 3))  # mixture, own expert, one for all
    group = rng.integers(0, 2, rounds)
    for t in range(rounds):
        x = rng.normal(size=inputs)
        x /= np.linalg.norm(x)
        y = float((truth if group[t] == 0 else -truth) @ x + 0.05 * rng.normal())  # the groups disagree
        active = np.array([group[t] == 0, group[t] == 1, True])
        said = np.array([expert.predict(x) for expert in experts])
        mixed = float(hedge_weights(regret, absolute, active) @ said)
        each = (said - y) ** 2 / 4  # from 0 to 1
        gained = np.where(active, (mixed - y) ** 2 / 4 - each, 0)
        regret, absolute = regret + gained, absolute + np.abs(gained)
        losses[t] = (mixed - y) ** 2 / 4, each[group[t]], each[2]
        for expert in (experts[group[t]], experts[2]):
            expert.learn(x, y)
    late = np.arange(rounds) >= rounds // 2
    found = np.array([losses[late & (group == g)].mean(0) for g in range(2)])
    for g, row in enumerate(found):
        print("group {}: mixture {:.5f}, own expert {:.5f}, one model for all {:.5f}".format(g, *row))
    return found


if __name__ == "__main__":
    main()
