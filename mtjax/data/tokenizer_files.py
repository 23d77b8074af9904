"""The files of a tokenizer's folder, and what its chat template says of the end of a turn."""

import contextlib
import datetime
import json
import pathlib
from typing import Any

from mtjax.errors import InputError, note
from mtjax.io.files import is_lfs_pointer


def check_files(folder: pathlib.Path) -> None:
    """Refuse Git LFS pointers among the tokenizer's files, and say which of two chat templates is used."""
    for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "chat_template.jinja"):
        if (folder / name).is_file() and is_lfs_pointer(folder / name):
            raise InputError(f"tokenizer '{folder}': {name} is a Git LFS pointer: run `git lfs pull` there")
    template, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if template.is_file() and config.is_file():
        with contextlib.suppress(ValueError):  # AutoTokenizer refuses what is not JSON
            other = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
            if isinstance(other, str) and other.strip() != template.read_text(encoding="utf-8").strip():
                note(f"'{template}' is the chat template, not the other one in {config.name} (as in transformers)")


def save_tokenizer(fast: Any, end_id: int, folder: pathlib.Path) -> None:
    """Save in the form that transformers 4.57 and 5 both load, with the end token as EOS token."""
    fast.save_pretrained(str(folder))
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    # What `tokenizer.json` says is enough for this class, which both versions have.
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": fast.convert_ids_to_tokens(end_id)}
    if isinstance(config.get("extra_special_tokens"), list):  # 5.x; 4.57 expects a dict under this name
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    config = {key: value for key, value in config.items() if key not in ("backend", "is_local", "local_files_only")}
    file.write_text(json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def template_end(fast: Any) -> int:
    """The token that the chat template writes right after an assistant's answer; the EOS token where it writes none.

    Some published tokenizers have another EOS token (`<|endoftext|>`) than their template closes turns with
    (`<|im_end|>`).
    """
    if fast.chat_template is not None:
        answer = "4711"
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
        with contextlib.suppress(Exception):  # a template that wants other turns; `render_chat` says what it refuses
            after = fast.apply_chat_template(turns, tokenize=False).rpartition(answer)[2].lstrip()
            added = fast.backend_tokenizer.get_added_tokens_decoder()
            closes = {len(token.content): id for id, token in added.items() if after.startswith(token.content)}
            if closes:
                return int(closes[max(closes)])
    return int(fast.eos_token_id)


def unknown_id(backend: Any, fast: Any) -> int | None:
    """The id that the model gives to what it cannot spell: not always the token that the files call unknown."""
    if hasattr(backend.model, "unk_token"):
        return backend.token_to_id(backend.model.unk_token or "")
    return fast.unk_token_id  # Unigram does not say


def set_clock(template: str, date: str) -> None:
    """Let a chat template read this date from the clock; transformers keeps one compiled form of each template."""
    from transformers.utils import chat_template_utils

    if "strftime_now" in template:
        compiled: Any = chat_template_utils._compile_jinja_template(template)
        compiled.globals["strftime_now"] = datetime.datetime.fromisoformat(date).strftime
