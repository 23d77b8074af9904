"""Run by another interpreter, with torch and transformers but without jax: random checkpoints and what torch computes.

`make FOLDER FAMILY SEED` writes a random checkpoint of a family, the logits on fixed tokens and the gradient of their
mean loss; `logits FOLDER` writes the logits of a checkpoint or adapter that somebody else saved, and `serve` those of
the folders on standard input. See `test_transformers.py` and `test_round_trips.py`.
"""

import json
import pathlib
import random
import sys

import numpy as np
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}
SLIDES = {"use_sliding_window": True, "sliding_window": 5}


def sizes(draw, family):
    """A random shape; a head is rarely as wide as the width by the heads, and three heads are common."""
    kv_heads = draw.choice([1, 2, 3])
    heads = kv_heads * draw.choice([1, 2, 3])
    width = heads * draw.choice([6, 8])
    out = {"vocab_size": 53, "hidden_size": width, "intermediate_size": draw.choice([40, 56])}
    out |= {"num_hidden_layers": draw.choice([4, 5, 7]), "num_attention_heads": heads, "num_key_value_heads": kv_heads}
    if family not in ("phi3", "olmoe", "olmo2", "olmo3"):  # their classes take the width by the heads
        out["head_dim"] = draw.choice([6, 10, 12])
    out |= {"max_position_embeddings": 64, "tie_word_embeddings": draw.random() < 0.5, "rms_norm_eps": 1e-5}
    return out | {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "initializer_range": 0.2}


def special(draw, family, shape):
    """What only this family has."""
    layers, theta = shape["num_hidden_layers"], draw.choice([1e4, 5e5])
    flat = {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": theta}
    kinds = draw.choices(["full_attention", "sliding_attention"], k=layers)
    experts = {"num_experts": draw.choice([5, 6, 8]), "num_experts_per_tok": draw.choice([2, 3])}
    experts |= {"moe_intermediate_size": 24, "norm_topk_prob": draw.random() < 0.5}
    experts |= draw.choice([{}, {"decoder_sparse_step": 2}, {"mlp_only_layers": [1]}])
    if family == "llama":
        return {"rope_parameters": draw.choice([flat["rope_parameters"], yarn])}
    if family in ("qwen2", "qwen3"):
        return flat | SLIDES | {"max_window_layers": 2}
    if family == "mistral":
        return flat | {"sliding_window": 5}
    if family == "gemma2":
        caps = {"attn_logit_softcapping": draw.choice([None, 2.0]), "final_logit_softcapping": draw.choice([None, 3.0])}
        return flat | caps | {"sliding_window": 5, "query_pre_attn_scalar": draw.choice([5, 24])}
    if family == "gemma3_text":
        full = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
        rope = {"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}
        own = {"sliding_window": 5, "query_pre_attn_scalar": draw.choice([5, 24]), "rope_parameters": rope}
        return own | {"layer_types": kinds, "final_logit_softcapping": draw.choice([None, 3.0])}
    if family == "olmo2":
        return {"rope_parameters": draw.choice([flat["rope_parameters"], yarn])}
    if family == "olmo3":
        rope = {"full_attention": yarn, "sliding_attention": {"rope_type": "default", "rope_theta": theta}}
        return {"sliding_window": 5, "rope_parameters": rope}
    if family == "phi3":
        head = shape["hidden_size"] // shape["num_attention_heads"]
        share = {6: draw.choice([1.0, 2 / 3]), 8: draw.choice([1.0, 0.75, 0.5])}[head]
        count = int(head * share) // 2
        lists = {name: [draw.uniform(1, 3) for _ in range(count)] for name in ("short_factor", "long_factor")}
        long = {"rope_type": "longrope", "rope_theta": theta} | lists
        rope = draw.choice([flat["rope_parameters"], long]) | {"partial_rotary_factor": share}
        own = {"original_max_position_embeddings": draw.choice([16, 32]), "sliding_window": draw.choice([None, 5])}
        return {"rope_parameters": rope} | own
    if family == "mixtral":
        own = {"num_local_experts": experts["num_experts"], "num_experts_per_tok": experts["num_experts_per_tok"]}
        return flat | own | {"sliding_window": draw.choice([None, 5])}
    if family == "qwen2_moe":
        return flat | experts | {"shared_expert_intermediate_size": 20} | draw.choice([{}, SLIDES])
    if family == "qwen3_moe":
        return flat | experts | draw.choice([{}, SLIDES])
    if family == "olmoe":
        own = {key: experts[key] for key in ("num_experts", "num_experts_per_tok", "norm_topk_prob")}
        return flat | own | {"clip_qkv": draw.choice([None, 0.5])}
    raise ValueError(family)


def tokens(length=24):
    return torch.tensor(np.random.default_rng(7).integers(0, 53, (2, length)))


def by_hub_name(name, gradient):
    """A gradient under the names on disk: transformers 5 holds all experts of a layer in two tensors."""
    head, found, kind = name.partition(".experts.")
    if not found:
        return {name: gradient}
    mixtral = "block_sparse_moe" if HUB == "mixtral" else None
    head = head.replace(".mlp", ".block_sparse_moe") if mixtral else head
    gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    out = {}
    for expert, own in enumerate(gradient):
        parts = {gate: own[: len(own) // 2], up: own[len(own) // 2 :]} if kind.startswith("gate_up") else {down: own}
        out |= {f"{head}.experts.{expert}.{part}.weight": value for part, value in parts.items()}
    return out


HUB = ""


def make(folder, family, seed):
    global HUB
    HUB = family
    draw = random.Random(f"{family} {seed}")
    torch.manual_seed(seed)
    shape = sizes(draw, family)
    config = CONFIG_MAPPING[family](**shape | special(draw, family, shape))
    model = AutoModelForCausalLM.from_config(config, **EAGER).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif name.endswith("bias") or "gate.weight" in name:
                parameter.normal_(0, 0.3)
    logits = model(tokens()).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, 53), tokens()[:, 1:].reshape(-1))
    loss.backward()
    model.save_pretrained(folder)
    gradients = {}
    for name, parameter in model.named_parameters():
        name = name.replace(".mlp.gate.", ".block_sparse_moe.gate.") if family == "mixtral" else name
        gradients |= by_hub_name(name, parameter.grad.numpy())
    out = {"tokens": tokens().numpy(), "logits": logits.detach().numpy()}
    with torch.no_grad():
        for length in (37, 61):  # more than a block of attention, and no multiple of one
            out |= {
                f"tokens {length}": tokens(length).numpy(),
                f"logits {length}": model(tokens(length)).logits.numpy(),
            }
    np.savez(f"{folder}.npz", **out, **{f"gradient {n}": g for n, g in gradients.items()})


def logits(folder):
    """Of a checkpoint, or of a PEFT adapter on its base."""
    adapter = pathlib.Path(folder, "adapter_config.json")
    base = json.loads(adapter.read_text())["base_model_name_or_path"] if adapter.is_file() else folder
    model = AutoModelForCausalLM.from_pretrained(base, **EAGER, dtype=torch.float32).eval()
    if adapter.is_file():
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder).eval()
    np.savez(f"{folder}.npz", logits=model(tokens()).logits.detach().numpy())


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "make":
        for family in rest[1].split(","):
            for seed in range(int(rest[2])):
                target = pathlib.Path(rest[0]) / f"{family}_{seed}"
                target.mkdir(parents=True, exist_ok=True)
                make(target, family, seed)
    elif command == "logits":
        for folder in rest:
            logits(folder)
    else:  # serve: a folder a line, answered when its logits are written
        for line in sys.stdin:
            try:
                logits(line.strip())
                print("done", flush=True)
            except Exception as error:
                print(repr(error)[:2000].replace("\n", " "), flush=True)
