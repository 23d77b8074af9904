"""TRL: `SFTTrainer` and `DPOTrainer` on the CPU in float32, all else as it comes but for what is named.

Arguments: sft | dpo, model folder, data file, threads, and settings of the trainer's config as NAME=JSON.
"""

import json
import sys
from collections import deque

import torch
import transformers
import trl
from datasets import load_dataset
from protocol import Laps
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback


class Step(TrainerCallback):
    """A lap is a step of the trainer."""

    def __init__(self, laps: Laps, counted: deque):
        self.laps, self.counted = laps, counted

    def on_step_begin(self, *_, **__):
        self.laps.wait()

    def on_step_end(self, *_, **__):
        self.laps.done(*self.counted.popleft())


def main(kind: str, model: str, file: str, threads: str, *settings: str) -> None:
    """Train until nobody asks for another step."""
    torch.set_num_threads(int(threads))
    given = {name: json.loads(value) for name, value in (word.split("=", 1) for word in settings)}
    common = {"output_dir": f"{file}.trl", "use_cpu": True, "bf16": False, "report_to": [], "logging_steps": 10**6}
    common |= {"save_strategy": "no", "max_steps": 10_000, "learning_rate": 2e-5, "disable_tqdm": True}
    rows = load_dataset("json", data_files=file, split="train")
    tokenizer = AutoTokenizer.from_pretrained(model)
    net = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    laps = Laps(torch=torch.__version__, transformers=transformers.__version__, trl=trl.__version__, settings=given)
    make = (trl.SFTTrainer, trl.SFTConfig) if kind == "sft" else (trl.DPOTrainer, trl.DPOConfig)
    trainer = make[0](model=net, args=make[1](**common | given), train_dataset=rows, processing_class=tokenizer)
    counted: deque = deque()  # of batches in their order; they are made one ahead of the steps
    collate = trainer.data_collator

    def counting(examples):
        batch = collate(examples)
        ids = batch["input_ids"]
        mask = batch.get("attention_mask")
        packed = batch.get("position_ids")
        tokens = int(ids.numel() if mask is None else mask.sum())
        counted.append((tokens, len(examples) if packed is None else int((packed == 0).sum())))
        return batch

    trainer.data_collator = counting
    trainer.add_callback(Step(laps, counted))
    trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
