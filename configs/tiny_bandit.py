"""Algorithm distillation: the decisions of UCB from what it saw, on a CPU (paper 53).

Command:  python -m mtjax.train configs/tiny_bandit.py
          python -m mtjax.evaluate runs/tiny_bandit --metrics greedy --limit=500
          python docs/examples/papers/bandit_player.py runs/tiny_bandit
Machine:  2 CPU cores, some 4 minutes; 7 on a machine that did other work.
Expect:   it pulls UCB's arm in 0.91 of the decisions of new games (interval 0.88 to 0.93). Its own games of 50 pulls
          have a regret of 3.7; UCB's 4.6, a greedy player's 6.3, and random pulls 16.9.
"""

from mtjax.config import CheckpointConfig, Config, HeldOut
from mtjax.data.batches import DataConfig
from mtjax.data.sources.bandit import BanditDecisions
from mtjax.data.tasks.in_context import InContextTask
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.nll import Nll
from mtjax.optim import OptimConfig

game = {"arms": 3, "horizon": 50, "view": "summary"}

config = Config(
    model=DecoderConfig(max_length=128),
    data=DataConfig(
        source=BanditDecisions(count=40_000, split="train", **game),
        task=InContextTask(),
        tokenizer="bytes",
        sequence_length=128,
        max_segments=1,
    ),
    objective=Nll(),
    optim=OptimConfig(learning_rate=2e-3, warmup_steps=100, schedule="constant", b2=0.98),
    held_out=HeldOut(source=BanditDecisions(count=512, split="test", **game), every=200, batches=8),
    checkpoint=CheckpointConfig(every=500),
    steps=1000,
    batch_size=64,
    run_dir="runs/tiny_bandit",
)
