"""RLVR of Tülu 3 8B on GSM8K with GRPO, as Tülu 3.1 was trained, on 8 chips.

Command:  make example-data
          python -m mtjax.plan configs/tulu3_8b_rlvr.py --topology=v5p-16 --init_from=meta-llama/Llama-3.1-8B
          python -m mtjax.rounds configs/tulu3_8b_rlvr.py
Machine:  TPU v5p-16 (8 chips).
Time:     not measured. docs/plans/tulu3_8b_rlvr_v5p_16.md gives bounds of an update; sampling comes on top.
Expect:   unknown, because this config has not been run. For Tülu 3 8B the paper reports GSM8K 84.3 -> 87.6 by PPO.

| setting | paper or its code | this config |
| --- | --- | --- |
| start | Llama-3.1-Tulu-3-8B-DPO | the same |
| algorithm | PPO (3); GRPO, 16 samples a prompt, KL 0.01 with k3, 2 updates a batch (3.1) | that of Tülu 3.1 |
| learning rate | 3e-7 linear (3); 5e-7 constant (3.1) | 5e-7 constant |
| problems | GSM8K, MATH and IFEval, 29,946 prompts | GSM8K train |
| reward | 10 if right, else 0 | the same |
| no end of the answer | the score is replaced by -10 (3); no penalty (3.1) | no penalty; compared, but not trained |
| temperature, longest answer | 1, 2,048 | 1, 1,024 |
| prompts of a round | 14 (224 texts of 16) | 16 |
| precision | bf16, ZeRO-3 | bf16 compute and fp32 master weights |
"""

import dataclasses
import pathlib

from mtjax.config import CheckpointConfig, read_file
from mtjax.data.advantages.baselines import Grpo
from mtjax.data.sources.gsm8k import Gsm8k
from mtjax.data.tasks import GroupTask
from mtjax.distributed.sharding import MeshSpec
from mtjax.evaluation.rewards.verdict import VerdictReward
from mtjax.mistakes.curation.groups import Groups
from mtjax.objectives.policy_gradient import PolicyGradient
from mtjax.optim import OptimConfig
from mtjax.runs.rounds.config import Measure, Rounds
from mtjax.sampling.config import SamplingConfig

parent = read_file(pathlib.Path(__file__).with_name("llama31_8b_nll.py"))

config = dataclasses.replace(
    parent,
    init_from="allenai/Llama-3.1-Tulu-3-8B-DPO",
    data=dataclasses.replace(
        parent.data,
        source=Gsm8k("data/gsm8k/train.jsonl"),
        task=GroupTask(template="chat", size=16, advantage=Grpo(), logprobs="own"),
        sequence_length=1536,
        max_segments=1,
        pack=False,
    ),
    objective=PolicyGradient(reduction="sequence_mean", clip_high=0.2, kl_weight=0.01, kl="k3"),
    optim=OptimConfig(learning_rate=5e-7, schedule="constant"),
    mesh=MeshSpec(fsdp=8),
    checkpoint=CheckpointConfig(every=20, keep=2),
    batch_size=16,
    micro_batches=2,
    run_dir="runs/tulu3_8b_rlvr",
)

rounds = Rounds(
    train=config,
    rounds=400,
    problems=16,
    sampling=SamplingConfig(samples=16, max_new_tokens=1024),
    rows=256,
    reward=VerdictReward(10.0, 0.0),
    curation=Groups(cut_reward=0.0),
    passes=2,  # two updates on each batch, the second one off policy, with the recorded log-probabilities
    measure=Measure(source=Gsm8k("data/gsm8k/test.jsonl"), every=20, samples=4, limit=200),
)
