"""The picture of docs/confidence.md and its table: `python docs/pictures/confidence.py`."""

import pathlib

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from mtjax.objectives.confidence import times_probability
from mtjax.objectives.dco import dco_loss
from mtjax.objectives.focal import focal_loss
from mtjax.objectives.gce import gce_loss
from mtjax.objectives.unlikelihood import unlikelihood_loss

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LOSSES = {
    "nll": lambda logprob: -logprob,
    "dft": times_probability,
    "gce, q 0.7": lambda logprob: gce_loss(logprob, q=0.7),
    "focal, gamma 2": lambda logprob: focal_loss(logprob, gamma=2.0),
    "dco, N 2": lambda logprob: dco_loss(logprob, 2.0),
    "dco, N 16": lambda logprob: dco_loss(logprob, 16.0),
    "unlikelihood (wrong texts)": unlikelihood_loss,
}


def factors(loss, probability):
    """What a loss makes of the gradient of -log p."""
    return -np.asarray(jax.vmap(jax.grad(loss))(jnp.log(jnp.asarray(probability, jnp.float32))))


def main():
    """Draw the picture and print the table."""
    grid = np.linspace(0.001, 0.999, 400)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, loss in LOSSES.items():
        axes.plot(grid, factors(loss, grid), label=name, linestyle="--" if "wrong" in name else "-")
    axes.set(xlabel="probability of the target, p", ylabel="factor on the gradient of -log p", ylim=(-1.5, 1.5))
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.legend(fontsize=8)
    figure.savefig(pathlib.Path(__file__).with_name("confidence.png"), dpi=100, metadata={"Software": None})
    shown = (0.01, 0.1, 0.5, 0.9)
    for name, loss in LOSSES.items():
        print(f"| {name} | " + " | ".join(f"{value:.4g}" for value in factors(loss, shown)) + " |")


if __name__ == "__main__":
    main()
