"""The tokenizer of SmolLM2-135M-Instruct, made from the GGUF file of its package and cached as a folder."""

import json
import pathlib
from typing import Any

from mtjax.io.files import atomic_folder, cache_folder
from mtjax.io.smollm2_package import gguf_file, read_gguf

FORMAT = 1  # raise it when the cached tokenizer folder changes
SPECIAL = 3  # token_type of a special token in GGUF


def smollm2_tokenizer_folder() -> pathlib.Path:
    """A folder with SmolLM2's `tokenizer.json` and chat template, made from the GGUF fields once and cached.

    It is written atomically, so two processes may make it at once. InputError if the package is absent.
    """
    file = gguf_file()
    folder = cache_folder() / f"smollm2-tokenizer-{FORMAT}-{file.stat().st_size}"
    if (folder / "tokenizer_config.json").is_file():
        return folder
    with atomic_folder(folder, keep_existing=True) as temporary:
        write_tokenizer(read_gguf(file), temporary)
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
    kinds = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{ours}_token": tokens[field(f"ggml.{theirs}_token_id")] for ours, theirs in kinds.items()},
        "model_max_length": 8192,  # that the model was trained for
        "clean_up_tokenization_spaces": False,
        "chat_template": field("chat_template"),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
