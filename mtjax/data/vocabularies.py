"""The two tokenizers that mtjax makes itself: bytes, and the symbols of generated arithmetic."""

import re

PAD, BOS, END = "<|pad|>", "<|bos|>", "<|end|>"
"""The special tokens of both; met in a text, they are one token."""

UNKNOWN = "<|unknown|>"
"""Stands in the arithmetic vocabulary for what it does not hold; encoding such a text is refused."""

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
"""Digits, and everything between them in the texts of `mtjax.data.sources.arithmetic` as one token with its white
space.

The longest symbol wins. `"\\nStep 1: "` is not one: the first step opens the answer, and a token across the border of
prompt and answer would make the prompt's tokens depend on what follows.
"""


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary, as in GPT-2."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = {byte: chr(256 + rank) for rank, byte in enumerate(b for b in range(256) if b not in printable)}
    return [others.get(byte, chr(byte)) for byte in range(256)]


def bytes_tokenizer():
    """A `tokenizers.Tokenizer` of UTF-8 bytes: ids 0..255, then pad 256, bos 257, end 258."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.BPE(vocab={char: byte for byte, char in enumerate(byte_alphabet())}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([PAD, BOS, END])
    tokenizer.post_processor = processors.TemplateProcessing(f"{BOS} $A", special_tokens=[(BOS, 257)])
    return tokenizer


def arithmetic_tokenizer():
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
