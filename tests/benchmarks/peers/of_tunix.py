"""Tunix: `PeftTrainer` and `DPOTrainer` with its Llama 3 model in float32, every batch padded to one length.

Arguments: sft | dpo, model folder, data file, and `remat=none|block|decoder`. Tunix pads where it tokenizes, to lengths
that its user gives (a new length compiles a new step), and packs no rows: the length here is the longest of the data.
"""

import functools
import itertools
import json
import sys
from importlib.metadata import version

import jax
import numpy as np
import optax
from protocol import Laps
from transformers import AutoTokenizer
from tunix.models.llama3.model import ModelConfig, RematConfig
from tunix.models.llama3.params import create_model_from_safe_tensors
from tunix.rl.common import make_causal_attn_mask
from tunix.sft.dpo.dpo_trainer import DPOTrainer, DPOTrainingConfig, TrainingInput
from tunix.sft.peft_trainer import PeftTrainer, TrainingConfig
from tunix.sft.peft_trainer import TrainingInput as Tokens
from tunix.sft.utils import build_positions_from_mask

ROWS = {"sft": 8, "dpo": 2}
"""Examples of a batch. Eight pairs need 29 GB in one piece, and the machine of docs/performance.md has 24 GiB."""


def shape(folder: str, remat: str) -> ModelConfig:
    """The model of a Hugging Face folder of the Llama family."""
    with open(f"{folder}/config.json") as file:
        known = json.load(file)
    rope = known.get("rope_theta") or known["rope_parameters"]["rope_theta"]
    heads = known["num_attention_heads"]
    return ModelConfig(
        num_layers=known["num_hidden_layers"], vocab_size=known["vocab_size"], embed_dim=known["hidden_size"],
        hidden_dim=known["intermediate_size"], num_heads=heads, head_dim=known["hidden_size"] // heads,
        num_kv_heads=known["num_key_value_heads"], rope_theta=int(rope), norm_eps=known["rms_norm_eps"],
        weight_tying=known["tie_word_embeddings"], remat_config=RematConfig[remat.upper()],
    )  # fmt: skip


def padded(rows: list[list[int]], *, left: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask of rows, padded to the longest."""
    longest = max(map(len, rows))
    fill = lambda row, value: [0] * (longest - len(row)) + value if left else value + [0] * (longest - len(row))
    return np.array([fill(row, row) for row in rows]), np.array([fill(row, [1] * len(row)) for row in rows])


def batches(kind: str, file: str, encode, end: int):
    """Batches without an end, and the real tokens of each: all padded to the longest example of the file."""
    with open(file) as lines:
        rows = [json.loads(line) for line in lines]
    if kind == "sft":
        prompts, texts = ([encode(row[name]) for row in rows] for name in ("prompt", "completion"))
        ids, mask = padded([prompt + text + [end] for prompt, text in zip(prompts, texts, strict=True)])
        targets = mask.copy()
        for row, prompt in zip(targets, prompts, strict=True):
            row[: len(prompt)] = 0
        columns, make = [ids, targets, mask], lambda ids, targets, mask: (Tokens(ids, targets), int(mask.sum()))
    else:
        sides = [[encode(row[name]) + [end] for row in rows] for name in ("chosen", "rejected")]
        both, mask = padded(sides[0] + sides[1])
        prompts, seen = padded([encode(row["prompt"]) for row in rows], left=True)
        columns = [
            prompts,
            seen,
            *(part for half in (slice(len(rows)), slice(len(rows), None)) for part in (both[half], mask[half])),
        ]
        make = lambda *parts: (TrainingInput(*parts), int(2 * parts[1].sum() + parts[3].sum() + parts[5].sum()))
    for first in itertools.count(0, ROWS[kind]):
        chosen = np.arange(first, first + ROWS[kind]) % len(rows)
        yield make(*(column[chosen] for column in columns))


def model_input(example: Tokens) -> dict:
    """What the loss of supervised fine-tuning takes; id 0 is padding, and no token of the data has it."""
    mask = example.input_tokens != 0
    positions, attention = build_positions_from_mask(mask), make_causal_attn_mask(mask)
    return {
        "input_tokens": example.input_tokens,
        "input_mask": example.input_mask,
        "positions": positions,
        "attention_mask": attention,
    }


def main(kind: str, folder: str, file: str, remat: str = "remat=none") -> None:
    """Train until nobody asks for another step."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    load = functools.partial(
        create_model_from_safe_tensors, folder, shape(folder, remat.partition("=")[2]), dtype=np.float32
    )
    model, optimizer = load(), optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(2e-5))
    common = {"eval_every_n_steps": 10**9, "max_steps": 10_000}
    if kind == "sft":
        trainer = PeftTrainer(model, optimizer, TrainingConfig(**common)).with_gen_model_input_fn(model_input)
    else:
        trainer = DPOTrainer(model, load(), optimizer, DPOTrainingConfig(beta=0.1, **common))
    laps = Laps(tunix=version("google-tunix"), jax=jax.__version__, settings=remat)

    def feed():
        """A lap lasts from one request for a batch to the next, when what was asked for has been computed."""
        for batch, tokens in batches(kind, file, lambda text: tokenizer(text)["input_ids"], tokenizer.eos_token_id):
            laps.wait()
            yield batch
            jax.block_until_ready(jax.tree.leaves(jax.live_arrays()))
            laps.done(tokens, ROWS[kind])

    trainer.train(feed())


if __name__ == "__main__":
    main(*sys.argv[1:])
