"""Fine-tuning of SmolLM2-135M-Instruct on right GSM8K solutions: the baseline of `gsm8k_smollm2_mistake.py`.

Command:  make example-data
          python -m mtjax.train configs/gsm8k_smollm2_nll.py
Machine:  2 CPU cores for a short run (about 4.3 s per step of 512 tokens). A full run needs one GPU or TPU,
          --batch_size=64 and --steps=500.
Expect:   the loss falls over the 20 steps. Accuracy does not change in so few steps.

The data are solutions that four models gave to GSM8K *test* questions (Cobbe et al. 2021, MIT licence). They are split
by question: train on `split="train"` and report accuracy on `split="test"` only. `make example-data` fetches them, or
makes a stand-in of the same format where there is no network; other places are given by --data.source.path=... and
--held_out.source.path=...
"""

from mtjax.config import CheckpointConfig, Config, HeldOut
from mtjax.data.batches import DataConfig
from mtjax.data.sources.gsm8k import Gsm8kSolutions
from mtjax.data.tasks import CompletionTask
from mtjax.data.tasks.base import QUESTION_ANSWER
from mtjax.objectives.nll import Nll
from mtjax.optim import OptimConfig

SOLUTIONS = "data/gsm8k/example_model_solutions.jsonl"

config = Config(
    init_from="smollm2",
    data=DataConfig(
        source=Gsm8kSolutions(SOLUTIONS, split="train"),
        task=CompletionTask(template=QUESTION_ANSWER),
        sequence_length=256,
        max_segments=4,
    ),
    objective=Nll(),
    optim=OptimConfig(learning_rate=1e-4, warmup_steps=5, schedule="constant"),
    held_out=HeldOut(source=Gsm8kSolutions(SOLUTIONS, split="validation"), every=20, batches=2),
    checkpoint=CheckpointConfig(every=20, keep=1),
    steps=20,
    batch_size=2,
    run_dir="runs/gsm8k_smollm2_nll",
)
