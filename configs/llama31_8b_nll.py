"""Fine-tuning of Llama 3.1 8B on GSM8K with cross-entropy: the parent of the other 8B configs.

Command:  make example-data
          python -m mtjax.train configs/llama31_8b_nll.py
Machine:  TPU v5p-64 (32 chips). TPU v5e-256: add --batch_size=256. 32 x H100: no change. Plan the run first:
          python -m mtjax.plan configs/llama31_8b_nll.py --topology v5p-64
Time:     not measured, because no accelerator was available. docs/plans/llama31_8b_nll_*.md give bounds.
Expect:   memory as in the plan. Loss and accuracy are unknown, because this config has not been run.

`make example-data` puts GSM8K into data/gsm8k; another place is given by --data.source.path=... The weights are loaded
from the Hugging Face hub (gated), or from a folder with --init_from=... All settings are ours. A learning rate of 1e-5
over 3 epochs is usual for a model of this size.
"""

from mtjax.config import CheckpointConfig, Config
from mtjax.data.batches import DataConfig
from mtjax.data.sources.gsm8k import Gsm8k
from mtjax.data.tasks import CompletionTask
from mtjax.data.tasks.base import QUESTION_ANSWER
from mtjax.distributed.sharding import MeshSpec
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.nll import Nll
from mtjax.optim import OptimConfig

config = Config(
    init_from="meta-llama/Llama-3.1-8B",
    model=DecoderConfig(dtype="bfloat16"),
    data=DataConfig(
        source=Gsm8k("data/gsm8k/train.jsonl"),
        task=CompletionTask(template=QUESTION_ANSWER),
        sequence_length=4096,
        cache_dir="runs/data",
    ),
    objective=Nll(),
    optim=OptimConfig(learning_rate=1e-5, warmup_steps=10, schedule="cosine"),
    mesh=MeshSpec(data=-1, fsdp=16),
    checkpoint=CheckpointConfig(every=50, keep=2),
    steps=100,
    batch_size=64,
    run_dir="runs/llama31_8b_nll",
)
