"""Mistake tuning of Flan-T5-large (780M) on right and wrong rationales, after Tong et al. (ACL 2024, arXiv 2403.20046).

Command:  python -m mtjax.train configs/flan_t5_large_mistake.py --data.source.path=COT_ERROR_SET.jsonl
          then ask it: python -m mtjax.generate runs/flan_t5_large_mistake "QUESTION"
Machine:  one accelerator of 24 GB by its shapes: parameters, gradient and two moments in float32 are 12.6 GB; or more
          devices with --mesh.fsdp. Plan it: python -m mtjax.plan configs/flan_t5_large_mistake.py --topology h100-8
Time:     not measured, because no accelerator was available.
Expect:   the paper reports accuracies of 18.36 (GSM8K), 48.95 (MathQA) and 18.07 (AQuA), against 14.28, 42.79 and 13.10
          of right rationales alone (table 6). None has been reproduced here: this config has not been run.

As in the paper: the model, learning rate 1e-4, seed 42, one right and one wrong rationale per question, both with
weight 1 and cross-entropy, told apart by the prefixes [CORRECT RATIONALE] and [INCORRECT RATIONALE].

Deviations, and choices where the paper is silent:
- The paper writes one sum over question, prefix and rationale, which an encoder-decoder cannot have: the encoder
  predicts nothing. Here question and prefix go to the encoder, and the loss is on the rationale and its end token. The
  paper does not say where the prefix was. The decoder has it with --data.task.template="{question}</s>" and
  --data.task.loss_on=prefix+rationale.
- Batch size, steps, optimizer and schedule are not stated: AdamW, 64 rows, constant after 50 steps of warm-up, 1,000
  steps. Rows of 1,024 tokens hold several examples, which do not see each other.
- No dropout (T5 has 0.1), as in all training here.
- The paper trains on CoTErrorSet (each record of this file one question), 10,000 examples of it for AQuA. Its wrong
  rationales are those of PaLM 2; for the model's own mistakes use python -m mtjax.mine and `data.source:mined`.
- Decoding asks with the correct prefix, which the paper implies and does not spell out.
- T5's tokenizer has no line break and no braces: rationales become one line. `python -m mtjax.inspect` says how many.
  Over --data.max_unknown unknown tokens stop the run.
"""

from mtjax.config import CheckpointConfig, Config
from mtjax.data.batches import DataConfig
from mtjax.data.sources.cot_error_set import CotErrorSet
from mtjax.data.tasks import MistakeTask
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.optim import OptimConfig

config = Config(
    init_from="google/flan-t5-large",
    model=DecoderConfig(remat="full"),
    data=DataConfig(
        source=CotErrorSet("data/cot_error_set.jsonl"),
        task=MistakeTask(decode_prefix="correct", loss_on="rationale", wrong_per_right=1.0, strip=True),
        sequence_length=1024,
    ),
    objective=MistakeTuning(incorrect_weight=1.0),
    optim=OptimConfig(learning_rate=1e-4, warmup_steps=50, schedule="constant"),
    checkpoint=CheckpointConfig(every=200, keep=2),
    steps=1000,
    batch_size=64,
    micro_batches=8,
    seed=42,
    run_dir="runs/flan_t5_large_mistake",
)
