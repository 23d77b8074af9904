"""A model that was trained on the decisions of UCB plays bandits: how its regret grows (paper 53).

Command:  python -m mtjax.train configs/tiny_bandit.py
          python docs/examples/papers/bandit_player.py runs/tiny_bandit
Expect:   regret after 50 pulls, and its growth:
          model 3.69 = 0.84 ln t + 0.010 t; UCB 4.64 = 0.87 ln t + 0.026 t; greedy 6.27 = 0.54 ln t + 0.082 t;
          random 16.88 = 0.04 ln t + 0.334 t

The games are those of another split than the training data's. Players pull in the same games, whose rewards are drawn
from the same seeds.
"""

import dataclasses
import sys

import numpy as np

from mtjax.config import read_file
from mtjax.data.bandits import play_all, regret_growth
from mtjax.runs.loading import load_any
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.texts import sample_texts


def main(run="runs/tiny_bandit", config="configs/tiny_bandit.py", games=64):
    """The growth of the regret of the model, its teacher, a greedy player and one that pulls at random."""
    source, loaded = read_file(config).held_out.source, load_any(run)
    greedy = SamplingConfig(samples=1, temperature=0.0, max_new_tokens=2)

    def model(seen):
        prompts = [source.question(one) for one in seen]
        drawn = sample_texts(loaded.model, loaded.params, loaded.tokenizer, prompts, greedy, 0, rows=games)
        return [source.arm_of(one.text) for (one,) in drawn]

    rng = np.random.default_rng(0)
    players = {"model": model, "random": lambda seen: rng.integers(0, source.arms, len(seen)).tolist()}
    plays = {name: play_all([source.game(n) for n in range(games)], one) for name, one in players.items()}
    for teacher in ("ucb", "greedy"):
        plays[teacher] = [dataclasses.replace(source, teacher=teacher).play(n) for n in range(games)]
    found = {}
    for name, played in plays.items():
        regret = np.array([one.regret for one in played])
        growth = regret_growth(regret)
        found[name] = float(regret.sum(1).mean()), growth
        print(f"{name}: regret {found[name][0]:.2f} = {growth.logarithmic:.2f} ln t + {growth.linear:.3f} t")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
