"""Text to token ids with character offsets, and back: bytes, arithmetic symbols, and any Hugging Face tokenizer."""

import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mtjax.data import vocabularies
from mtjax.data.problem import Message
from mtjax.errors import InputError, suggest

BUILT_IN = ("bytes", "arithmetic", "smollm2")
"""The names that `load_tokenizer` knows without a folder."""


class Encoding(NamedTuple):
    """The tokens of one text.

    Attributes:
        ids: token ids; no special token is added, but special tokens written in the text become themselves.
        offsets: per token the characters `[start, end)` it came from. They cover the text without a gap, in order;
            tokens that share one character (its bytes) share its span.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


class Tokenizer(NamedTuple):
    """A tokenizer as plain functions.

    Attributes:
        name: what it was loaded by.
        vocab_size: number of ids, special ones included; a model may have more rows than that.
        pad_id: fills rows; may equal `end_id`, since masks come from spans and never from ids.
        bos_id: the token that this tokenizer wants in front of a text, None when it wants none. A rendered chat
            may hold it already: add it only where the first id differs.
        end_id: ends an answer; it is trained, and stops sampling.
        encode: `text -> Encoding`. InputError for a character that the vocabulary does not hold.
        decode: `ids -> text`, special tokens included; `decode(encode(text).ids) == text` for byte-level vocabularies
            and for arithmetic.
        save: `folder -> None`; writes what `transformers.AutoTokenizer` reads, chat template included.
        render_chat: `(messages, add_generation_prompt) -> text`; InputError without a chat template.
        chat_template: the Jinja template, None where there is none.
        fingerprint: sha256 (hex) of vocabulary, rules and template.
    """

    name: str
    vocab_size: int
    pad_id: int
    bos_id: int | None
    end_id: int
    encode: Callable[[str], Encoding]
    decode: Callable[[Sequence[int]], str]
    save: Callable[[str | pathlib.Path], None]
    render_chat: Callable[[Sequence[Message], bool], str]
    chat_template: str | None
    fingerprint: str


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer called "bytes", "arithmetic" or "smollm2", in a local folder, or of a hub id (`owner/name`).

    Raises InputError for a name that is none of these, a folder without a tokenizer, a hub that cannot be reached, and
    a tokenizer without fast backend (which alone gives offsets) or without end token.
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # it is told in vain that torch is absent
    from transformers import PreTrainedTokenizerFast

    if name == "bytes":
        fast = PreTrainedTokenizerFast(
            tokenizer_object=vocabularies.bytes_tokenizer(),
            pad_token=vocabularies.PAD,
            bos_token=vocabularies.BOS,
            eos_token=vocabularies.END,
            chat_template=vocabularies.CHAT_TEMPLATE,
        )
        return _from_transformers(name, fast)
    if name == "arithmetic":
        fast = PreTrainedTokenizerFast(
            tokenizer_object=vocabularies.arithmetic_tokenizer(),
            pad_token=vocabularies.PAD,
            eos_token=vocabularies.END,
            unk_token=vocabularies.UNKNOWN,
        )
        return _from_transformers(name, fast)
    if name == "smollm2":
        from mtjax.data.smollm2_tokenizer import smollm2_tokenizer_folder

        return _from_transformers(name, _auto(str(smollm2_tokenizer_folder()), name))
    return _from_transformers(name, _auto(name, name))


def _auto(place: str, name: str) -> Any:
    """AutoTokenizer on a folder or a hub id, with one clear sentence for each way it can fail."""
    from transformers import AutoTokenizer

    if not pathlib.Path(place).is_dir() and name.count("/") != 1:
        raise InputError(f"tokenizer {name!r} is no folder, hub id (owner/name) or built-in: {suggest(name, BUILT_IN)}")
    try:
        return AutoTokenizer.from_pretrained(place)
    except Exception as error:  # transformers raises many kinds, from OSError to KeyError, for a bad folder
        if pathlib.Path(place).is_dir():
            way_out = "expected a folder with tokenizer.json and tokenizer_config.json; save the tokenizer there"
        else:
            way_out = f"'{name}' is no folder here, and the hub did not give it: check the id and the network"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"tokenizer {name!r} cannot be loaded: {way_out} ({reason:.200})") from error


def _from_transformers(name: str, fast: Any) -> Tokenizer:
    backend = getattr(fast, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"tokenizer {name!r} is slow: it gives no offsets; convert it to a tokenizer.json first")
    if fast.eos_token_id is None:
        raise InputError(f"tokenizer {name!r} has no end token; set eos_token in its tokenizer_config.json")
    backend.no_truncation()
    backend.no_padding()
    # Only our arithmetic vocabulary leaves characters out; others spell what they do not know in bytes or as <unk>.
    unknown = fast.unk_token_id if fast.unk_token == vocabularies.UNKNOWN else None

    def encode(text: str) -> Encoding:
        encoded = backend.encode(text, add_special_tokens=False)
        offsets, end = [], 0
        for start, stop in encoded.offsets:
            # Some post-processors trim white space off the offsets; what no other token holds is this token's.
            offsets.append((min(start, end), max(stop, end) if stop == start else stop))
            end = max(end, stop)
        if unknown is not None and unknown in encoded.ids:
            start, stop = encoded.offsets[encoded.ids.index(unknown)]
            raise InputError(
                f"tokenizer 'arithmetic' does not know {text[start:stop]!r} at character {start} of {text!r:.80}; it "
                "holds digits, + - * =, 'Step', 'Answer' and the two default prefixes: use tokenizer 'bytes' instead"
            )
        return Encoding(list(encoded.ids), offsets)

    def decode(ids: Sequence[int]) -> str:
        return backend.decode([int(i) for i in ids], skip_special_tokens=False)

    def save(folder: str | pathlib.Path) -> None:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        fast.save_pretrained(str(folder))

    def render_chat(messages: Sequence[Message], add_generation_prompt: bool) -> str:
        if fast.chat_template is None:
            raise InputError(
                f"tokenizer {name!r} has no chat template; use data.task completion, or a tokenizer of a chat model"
            )
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return fast.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
        except Exception as error:  # whatever the template's own raise_exception or a missing field gives
            roles = ", ".join(message.role for message in messages) or "no messages"
            raise InputError(f"the chat template of {name!r} refuses a conversation of {roles}: {error}") from error

    wants_bos = fast.bos_token_id is not None and fast("a")["input_ids"][:1] == [fast.bos_token_id]
    pad = fast.eos_token_id if fast.pad_token_id is None else fast.pad_token_id
    rules = backend.to_str() + "\0" + str(fast.chat_template)
    return Tokenizer(
        name=name,
        vocab_size=len(fast),
        pad_id=pad,
        bos_id=fast.bos_token_id if wants_bos else None,
        end_id=fast.eos_token_id,
        encode=encode,
        decode=decode,
        save=save,
        render_chat=render_chat,
        chat_template=fast.chat_template,
        fingerprint=hashlib.sha256(rules.encode()).hexdigest(),
    )


def render_chat_spans(tokenizer: Tokenizer, messages: Sequence[Message]) -> tuple[str, list[tuple[int, int]]]:
    """A conversation as text, and where each assistant turn stands in it: `[start, end)` in characters.

    A span starts where the generation prompt ends and includes the text of the closing end token, but no line break
    after it. It is found by rendering the conversation up to the turn and then with the turn: the first must be a
    prefix of the second. Raises InputError where the template breaks that (such as one that drops earlier reasoning).
    """
    text = tokenizer.render_chat(messages, False)
    closing = tokenizer.decode([tokenizer.end_id])
    spans = []
    for turn, message in enumerate(messages):
        if message.role != "assistant":
            continue
        before = tokenizer.render_chat(messages[:turn], True)
        after = tokenizer.render_chat(messages[: turn + 1], False)
        if not (after.startswith(before) and text.startswith(after)):
            raise InputError(
                f"the chat template of {tokenizer.name!r} renders turn {turn} differently once more turns follow, so "
                "the assistant's text has no fixed place; use one-turn conversations or another chat template"
            )
        inside = after[len(before) :]
        body, found, _ = inside.rpartition(closing)
        spans.append((len(before), len(before) + len(body + found if found else inside.rstrip())))
    return text, spans
