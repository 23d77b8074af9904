"""Contextual bandits by online regression: inverse-gap weighting over a small network (paper 24).

Command:  python docs/examples/papers/inverse_gap.py
Expect:   a loss of 0.21 (square) and 0.03 (fast) in the last 500 of 3,000 rounds, against 0.79 at random.

A network predicts the loss of each arm; with b the arm of the least prediction, arm a is pulled with the probability
`1 / (K + gamma (y_a - y_b))` and b with the rest (NeuSquareCB), or `y_b / (K y_b + gamma (y_a - y_b))` (NeuFastCB, for
the KL loss of predictions between 0 and 1). Only the pulled arm's loss is seen, and regressed on.

Source: arXiv 2312.07145; the rules are recalled.
"""

import numpy as np


def square(predicted, gamma):
    """The probabilities of NeuSquareCB."""
    gap = predicted - predicted.min()
    p = 1 / (len(predicted) + gamma * gap)
    p[predicted.argmin()] += 1 - p.sum()
    return p


def fast(predicted, gamma):
    """The probabilities of NeuFastCB."""
    least = predicted.min()
    p = least / (len(predicted) * least + gamma * (predicted - least))
    p[predicted.argmin()] += 1 - p.sum()
    return p


class Network:
    """One hidden layer, sigmoids for the arms, and the slope of the KL loss of one arm."""

    def __init__(self, rng, inputs, arms, hidden=32):
        self.first = rng.normal(size=(inputs, hidden)) / np.sqrt(inputs)
        self.second = rng.normal(size=(hidden, arms)) / np.sqrt(hidden)

    def predict(self, x):
        """The loss of each arm, between 0 and 1, and the hidden layer."""
        hidden = np.tanh(x @ self.first)
        return 1 / (1 + np.exp(-np.clip(hidden @ self.second, -15, 15))), hidden

    def learn(self, x, arm, loss, rate=0.1):
        """One step on the loss of one arm."""
        predicted, hidden = self.predict(x)
        off = predicted[arm] - loss
        down = off * self.second[:, arm] * (1 - hidden**2)
        self.second[:, arm] -= rate * off * hidden
        self.first -= rate * np.outer(x, down)


def play(rule, gamma=30.0, rounds=3000, arms=5, inputs=10, seed=0):
    """The loss of each round of a classification bandit: 0 for the arm that is the class of the context, else 1."""
    rng = np.random.default_rng(seed)
    centres = 1.5 * rng.normal(size=(arms, inputs))
    network, lost = Network(rng, inputs, arms), []
    for _ in range(rounds):
        label = rng.integers(arms)
        x = (centres[label] + rng.normal(size=inputs)) / 2
        predicted, _ = network.predict(x)
        p = rule(predicted, gamma) if rule else np.full(arms, 1 / arms)
        arm = rng.choice(arms, p=p)
        lost.append(float(arm != label))
        network.learn(x, arm, lost[-1])
    return np.array(lost)


def main():
    """The loss of the first and the last 500 rounds of each rule; returns the last."""
    found = {}
    for name, rule in (("random", None), ("square", square), ("fast", fast)):
        lost = play(rule)
        found[name] = float(lost[-500:].mean())
        print(f"{name}: loss {lost[:500].mean():.3f} in the first 500 rounds, {found[name]:.3f} in the last 500")
    return found


if __name__ == "__main__":
    main()
