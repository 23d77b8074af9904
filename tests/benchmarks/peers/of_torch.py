"""A plain PyTorch loop: batches of 8 examples padded to the longest, cross-entropy of the completion, fused AdamW.

Arguments: sft, model folder, data file, threads.
"""

import itertools
import json
import sys

import torch
import transformers
from protocol import Laps
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(kind: str, model: str, file: str, threads: str) -> None:
    """Train until nobody asks for another step."""
    assert kind == "sft", "there is a plain loop for sft alone"
    torch.set_num_threads(int(threads))
    tokenizer = AutoTokenizer.from_pretrained(model)
    net = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-5, fused=True)
    examples = []
    for row in map(json.loads, open(file)):  # noqa: SIM115
        prompt, text = tokenizer(row["prompt"])["input_ids"], tokenizer(row["completion"])["input_ids"]
        examples.append((prompt + text + [tokenizer.eos_token_id], len(prompt)))
    laps = Laps(torch=torch.__version__, transformers=transformers.__version__)
    for first in itertools.count(0, 8):
        rows = [examples[(first + i) % len(examples)] for i in range(8)]
        longest = max(len(ids) for ids, _ in rows)
        ids, labels = torch.zeros(8, longest, dtype=torch.long), torch.full((8, longest), -100)
        mask = torch.zeros_like(ids)
        for place, (tokens, begin) in enumerate(rows):
            ids[place, : len(tokens)], mask[place, : len(tokens)] = torch.tensor(tokens), 1
            labels[place, begin : len(tokens)] = torch.tensor(tokens[begin:])
        laps.wait()
        net(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        laps.done(int(mask.sum()), 8)


if __name__ == "__main__":
    main(*sys.argv[1:])
