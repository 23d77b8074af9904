"""Run by another interpreter, with torch and transformers but without jax; see `test_t5.py`.

`make FOLDER SEEDS` writes random checkpoints of T5, and what torch computes of prompts and answers; `logits FOLDER...`
computes it of checkpoints and adapters that somebody else saved, and `buckets FILE` the buckets of distances.
"""

import json
import pathlib
import random
import sys

import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

VOCABULARY, END = 53, 1


def pairs():
    """Prompts and answers of several lengths, each closed by the end token."""
    draw = np.random.default_rng(7)
    sizes = [(9, 7), (23, 3), (0, 12), (40, 1)]
    return [[[*draw.integers(2, VOCABULARY, n).tolist(), END] for n in pair] for pair in sizes]


def computed(model):
    """Logits of each answer, side by side; the mean loss; a greedy continuation of each prompt."""
    logits, total, count, greedy = [], 0.0, 0, []
    for prompt, answer in pairs():
        labels = torch.tensor([answer])
        out = model(input_ids=torch.tensor([prompt]), labels=labels)
        logits.append(out.logits[0])
        total, count = total + out.loss * len(answer), count + len(answer)
        # Its cache of 5.24 has as many layers as the encoder.
        ids = torch.tensor([prompt])
        made = model.generate(input_ids=ids, max_new_tokens=8, do_sample=False, use_cache=False)[0, 1:]
        greedy.append(made.tolist() + [0] * (8 - len(made)))
    return torch.cat(logits), total / count, np.array(greedy)


def make(folder, seed):
    draw = random.Random(seed)
    torch.manual_seed(seed)
    buckets = draw.choice([8, 12, 32])
    config = T5Config(
        vocab_size=VOCABULARY, d_model=draw.choice([24, 30]), d_kv=draw.choice([5, 8]), d_ff=draw.choice([20, 36]),
        num_layers=draw.choice([1, 2, 5]), num_decoder_layers=draw.choice([1, 3, 5]), num_heads=draw.choice([3, 4]),
        relative_attention_num_buckets=buckets, relative_attention_max_distance=draw.choice([buckets, 20, 128]),
        feed_forward_proj=["gated-gelu", "relu", "gated-silu", "gelu", "gelu_new", "gated-relu"][seed % 6],
        tie_word_embeddings=draw.random() < 0.5, decoder_start_token_id=draw.choice([0, 2]), dropout_rate=0.1,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).float().eval()
    if draw.random() < 0.6:
        model.lm_head.weight = torch.nn.Parameter(0.3 * torch.randn(VOCABULARY, config.d_model))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "relative" in name:
                parameter.normal_(0, 0.5)
    logits, loss, greedy = computed(model)
    loss.backward()
    model.save_pretrained(folder)
    if seed % 2:  # as transformers 4 writes it
        file = folder / "config.json"
        written = json.loads(file.read_text())
        scaled = written.pop("scale_decoder_outputs")
        file.write_text(json.dumps({**written, "tie_word_embeddings": scaled}))
    gradients = {f"gradient {name}": parameter.grad.numpy() for name, parameter in model.named_parameters()}
    np.savez(f"{folder}.npz", logits=logits.detach().numpy(), loss=loss.item(), greedy=greedy, **gradients)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "make":
        for seed in range(int(rest[1])):
            target = pathlib.Path(rest[0]) / f"t5_{seed}"
            target.mkdir(parents=True)
            make(target, seed)
    elif command == "buckets":
        distance = torch.arange(-300, 301)
        found = {}
        for buckets in (4, 8, 12, 32, 64):
            for most in (buckets // 2 + 1, 20, 100, 128, 256):
                for both in (0, 1) if most > buckets // 2 else ():
                    bucket_of = T5Attention._relative_position_bucket
                    found[f"{buckets} {most} {both}"] = bucket_of(distance, bool(both), buckets, most)
        np.savez(rest[0], **found)
    else:
        for folder in rest:
            adapter = pathlib.Path(folder, "adapter_config.json")
            base = json.loads(adapter.read_text())["base_model_name_or_path"] if adapter.is_file() else folder
            model = T5ForConditionalGeneration.from_pretrained(base, dtype=torch.float32).eval()
            if adapter.is_file():
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, folder).eval()
            np.savez(f"{folder}.npz", logits=computed(model)[0].detach().numpy())
