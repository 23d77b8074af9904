"""Text to token ids with character offsets, and back: bytes, arithmetic symbols, and any Hugging Face tokenizer."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mtjax.data.chat_template import chat_template
from mtjax.data.encoding import Decoder, Encoder, Encoding
from mtjax.data.tokenizer_files import check_files, save_tokenizer, template_end, unknown_id
from mtjax.errors import InputError, suggest
from mtjax.io.files import atomic_folder, cache_folder
from mtjax.io.hashing import digest
from mtjax.io.smollm2_package import gguf_file, read_gguf
from mtjax.types import short_repr

BUILT_IN = ("bytes", "arithmetic", "smollm2")  # The names that `load_tokenizer` knows without a folder.
PAD, BOS, END = "<|pad|>", "<|bos|>", "<|end|>"  # Special tokens of the bytes and arithmetic tokenizers.
SMOLLM2_FORMAT = 1  # Raised when the cached tokenizer folder changes.
GGUF_SPECIAL = 3  # `token_type` of a special token.
UNKNOWN = "<|unknown|>"  # What the arithmetic vocabulary does not hold; encoding such a text is refused.

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}"
    "{{ '<|end|>' if message['role'] == 'assistant' }}{{ '\\n' }}{% endfor %}"
    "{{ 'assistant: ' if add_generation_prompt }}"
)
"""The chat template of the bytes tokenizer: `role: content` per line, an assistant's turn closed by the end token."""

ARITHMETIC_SYMBOLS = (
    *"0123456789",
    *(f" {operator} " for operator in "+-*="),
    " =",
    *"+-*=: \n",
    "Step ",
    "Step 1: ",
    *(f"\nStep {step}: " for step in range(2, 10)),
    "Answer: ",
    "\nAnswer: ",
    "[CORRECT RATIONALE]",
    "[INCORRECT RATIONALE]",
)
"""Digits, and everything between them in generated arithmetic, each one token with its white space; the longest wins.

`"\\nStep 1: "` is not one: the first step opens the answer, and a token across the border of prompt and answer would
make the prompt's tokens depend on what follows.
"""


@short_repr
class Tokenizer(NamedTuple):
    """A tokenizer as plain functions."""

    name: str  # what it was loaded by
    vocab_size: int  # number of ids, special ones included; a model may have more rows than that
    pad_id: int  # fills rows; may equal `end_id`, since masks come from spans and never from ids
    bos_id: int | None  # wanted at the start of a text, None if not; a rendered chat may hold it already
    end_id: int  # ends an answer, is trained and exported: the token that closes a turn of the template, else EOS
    end_ids: tuple[int, ...]
    """Every id that stops sampling: `end_id` first, then the tokenizer's EOS, then those in the files of its model."""
    encode: Callable[[str], Encoding]
    """InputError for a character that the vocabulary does not hold; see `mtjax.data.encoding` for many texts."""
    decode: Callable[[Sequence[int]], str]
    """Special tokens included; `decode(encode(text).ids) == text` for byte-level vocabularies and for arithmetic."""
    save: Callable[[str | pathlib.Path], None]  # to a folder that `AutoTokenizer` of transformers 4.57 and 5 reads
    keep: Callable[[str | pathlib.Path], None]  # to a folder that loads with the same `identity`, EOS token included
    render_chat: Callable[..., str]
    """`(messages, add_generation_prompt, date=DATE, control=False, tools=())`; InputError without template, or if it
    refuses. Special tokens in messages are shielded (`mtjax.data.special_tokens`) unless `control`. The clock shows
    `date`."""
    chat_template: str | None  # in Jinja
    fingerprint: str  # sha256 (hex) of vocabulary, rules and template
    special: tuple[str, ...] = ()  # special tokens as text; in a record they are text, in a template control tokens
    unknown_id: int | None = None  # what stands for a character that the vocabulary does not hold; None if nothing does
    generation_marks: Callable[..., list[tuple[int, int]]] | None = None
    """`(messages, date=DATE, tools=())`: the characters of the rendered conversation between `{% generation %}` and
    `{% endgeneration %}`, as `[start, end)`; None if the template has no such marks."""
    closing: str | None = None
    """The end token as text, where it closes prompts because an encoder reads them; see `mtjax.data.closing`."""
    first_id: int | None = None
    """What its files call the BOS token, whether texts begin with it or not: a text without context follows it."""

    @property
    def identity(self) -> str:
        """A digest (hex) of all that an example depends on: the fingerprint, which ids pad, begin and end, and how."""
        closing = () if self.closing is None else (self.closing,)
        return digest(self.fingerprint, self.pad_id, self.bos_id, self.end_id, *closing)


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary, as in GPT-2."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = {byte: chr(256 + rank) for rank, byte in enumerate(b for b in range(256) if b not in printable)}
    return [others.get(byte, chr(byte)) for byte in range(256)]


def bytes_tokenizer() -> Any:
    """A `tokenizers.Tokenizer` of UTF-8 bytes: ids 0..255, then pad 256, bos 257, end 258."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.BPE(vocab={char: byte for byte, char in enumerate(byte_alphabet())}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([PAD, BOS, END])
    tokenizer.post_processor = processors.TemplateProcessing(f"{BOS} $A", special_tokens=[(BOS, 257)])
    return tokenizer


def arithmetic_tokenizer() -> Any:
    """A `tokenizers.Tokenizer` of `ARITHMETIC_SYMBOLS`, then unknown, pad and end; there is no bos."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {symbol: number for number, symbol in enumerate((*ARITHMETIC_SYMBOLS, UNKNOWN))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    longest_first = sorted(ARITHMETIC_SYMBOLS, key=len, reverse=True)
    pattern = "|".join(re.escape(symbol).replace("\\\n", "\\n").replace("\\ ", " ") for symbol in longest_first)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([PAD, END])
    return tokenizer


def smollm2_tokenizer_folder() -> pathlib.Path:
    """A folder with SmolLM2's tokenizer, made from its package and cached, and again if the cached one is damaged.

    InputError if the package is absent.
    """
    file = gguf_file()
    folder = cache_folder() / f"smollm2-tokenizer-{SMOLLM2_FORMAT}-{file.stat().st_size}"

    def content(place: pathlib.Path) -> bytes:
        files = [place / name for name in ("tokenizer.json", "tokenizer_config.json")]
        return hashlib.sha256(b"".join(part.read_bytes() for part in files)).hexdigest().encode()

    with contextlib.suppress(OSError):
        if (folder / "sha256").read_bytes() == content(folder):
            return folder
    with atomic_folder(folder, keep_existing=not folder.exists()) as temporary:  # another process may make it too
        write_tokenizer(read_gguf(file), temporary)
        (temporary / "sha256").write_bytes(content(temporary))
    return folder


def write_tokenizer(reader: Any, folder: pathlib.Path) -> None:
    """Write the tokenizer in a GGUF file as a Hugging Face folder. Digits are split first, or numbers get other ids."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    field = lambda name: reader.fields[f"tokenizer.{name}"].contents()
    tokens = field("ggml.tokens")
    merges = [tuple(pair.split(" ")) for pair in field("ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, field("ggml.token_type"), strict=True) if kind == GGUF_SPECIAL]
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


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer called "bytes", "arithmetic" or "smollm2", in a local folder, or of a hub id (`owner/name`).

    Raises InputError for a name that is none of these, a folder without a tokenizer, a hub that cannot be reached, and
    a tokenizer without fast backend (which alone gives offsets) or without end token.
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # torch is not needed
    from transformers import PreTrainedTokenizerFast

    if name == "bytes":
        special = {"bos_token": BOS, "chat_template": CHAT_TEMPLATE}
        fast = PreTrainedTokenizerFast(tokenizer_object=bytes_tokenizer(), pad_token=PAD, eos_token=END, **special)
    elif name == "arithmetic":
        made = arithmetic_tokenizer()
        fast = PreTrainedTokenizerFast(tokenizer_object=made, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)
    elif name == "smollm2":
        fast = _auto(str(smollm2_tokenizer_folder()), name)
    else:
        fast = _auto(name, name)
    return _from_transformers(name, fast)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _auto(place: str, name: str) -> Any:
    """AutoTokenizer on a folder or a hub id, with one clear sentence for each way it can fail."""
    from transformers import AutoTokenizer

    is_folder = pathlib.Path(place).is_dir()
    if not is_folder and name.count("/") != 1:
        raise InputError(
            f"tokenizer {name!r} is not a folder, hub id (owner/name) or built-in: {suggest(name, BUILT_IN)}"
        )
    if is_folder:
        check_files(pathlib.Path(place))
    try:
        return AutoTokenizer.from_pretrained(place)
    except Exception as error:  # transformers raises many kinds, from OSError to KeyError, for a bad folder
        way_out = f"'{name}' is not a folder here, and the hub did not give it: check the id and the network"
        if is_folder:
            way_out = "expected a folder with tokenizer.json and tokenizer_config.json; save the tokenizer there"
        raise InputError(f"tokenizer {name!r} cannot be loaded: {way_out} ({first_line(error):.200})") from error


def _from_transformers(name: str, fast: Any) -> Tokenizer:
    backend = getattr(fast, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"tokenizer {name!r} is slow: it gives no offsets; convert it to a tokenizer.json first")
    if fast.eos_token_id is None:
        raise InputError(f"tokenizer {name!r} has no end token; set eos_token in its tokenizer_config.json")
    backend.no_truncation()
    backend.no_padding()
    # Only our arithmetic vocabulary refuses what it does not hold; others spell it in bytes or as <unk>.
    refused = fast.unk_token_id if fast.unk_token == UNKNOWN else None
    added = backend.get_added_tokens_decoder().items()
    # Special tokens that are looked for in the normalised text: other spellings of them may be found, too.
    folds = {id: token.content for id, token in added if token.special and token.normalized and backend.normalizer}
    special = tuple(sorted(token.content for _, token in added if token.special))

    wants_bos = fast.bos_token_id is not None and fast("a")["input_ids"][:1] == [fast.bos_token_id]
    end_id = template_end(fast)
    template = chat_template(name, fast, special)
    parts = [backend.to_str(), str(fast.chat_template), *([str(end_id)] if end_id != fast.eos_token_id else [])]
    return Tokenizer(
        name=name,
        vocab_size=len(fast),
        pad_id=fast.eos_token_id if fast.pad_token_id is None else fast.pad_token_id,
        bos_id=fast.bos_token_id if wants_bos else None,
        end_id=end_id,
        end_ids=tuple(dict.fromkeys((end_id, fast.eos_token_id))),
        encode=Encoder(backend, special, refused, folds),
        decode=Decoder(backend),
        save=lambda folder: save_tokenizer(fast, end_id, pathlib.Path(folder)),
        keep=lambda folder: fast.save_pretrained(str(folder)),
        render_chat=template.render,
        chat_template=fast.chat_template,
        fingerprint=hashlib.sha256("\0".join(parts).encode()).hexdigest(),
        special=special,
        unknown_id=unknown_id(backend, fast),
        generation_marks=template.marks,
        first_id=fast.bos_token_id,
    )
