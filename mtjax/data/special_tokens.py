"""Special tokens within the text of records: text, unless a template wrote them.

A special token such as `<|im_end|>` in a record is *shielded* before a task renders it: each of its characters is
replaced by one of a private use area. The rendered text then holds special tokens of the template as they are, and
those of records shielded; `Tokenizer.encode` reads the former as control tokens and spells the latter as text. Shielded
text has as many characters as the original, so character offsets stay valid.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from mtjax.data.problem import Problem

PLANE = 0xF0000  # Private use areas: a character is shielded by adding this to its code point.


def _shielded(token: str) -> str:
    return "".join(chr(PLANE + ord(char) % PLANE) for char in token)


@functools.lru_cache(maxsize=16)
def _pattern(tokens: tuple[str, ...], shielded: bool) -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern that finds tokens (and, if asked, their shielded forms), the longest first, and what replaces each."""
    swap = {token: _shielded(token) for token in tokens}
    swap |= {there: token for token, there in swap.items()} if shielded else {}
    return re.compile("|".join(map(re.escape, sorted(swap, key=len, reverse=True)))), swap


def shield(text: str, special: tuple[str, ...]) -> str:
    """The text with every special token in it shielded; shielding again changes nothing."""
    if not special:
        return text
    pattern, swap = _pattern(special, False)
    return pattern.sub(lambda match: swap[match[0]], text)


def unshield(text: str, special: tuple[str, ...]) -> str:
    """The text that was given to `shield`."""
    if not special or text.isascii():
        return text
    pattern, swap = _pattern(special, True)
    return pattern.sub(lambda match: match[0] if match[0] in special else swap[match[0]], text)


def is_shielded(text: str, special: tuple[str, ...]) -> bool:
    """Whether a special token in the text is shielded."""
    return unshield(text, special) != text


def exchange(text: str, special: tuple[str, ...]) -> str:
    """The text with shielded tokens as they are and the others shielded: what `literal_backend` encodes."""
    pattern, swap = _pattern(special, True)
    return pattern.sub(lambda match: swap[match[0]], text)


def map_texts(problem: Problem, change: Callable[[str], str]) -> Problem:
    """A problem with every text that a task may render changed; the problem itself where nothing is."""
    changed: dict[str, Any] = {"question": change(problem.question)}
    for name in ("right", "wrong"):
        changed[name] = tuple(map(change, getattr(problem, name)))
    parts = {"messages": ("content",), "pairs": ("context", "chosen", "rejected")}
    for name, texts in parts.items():
        changed[name] = tuple(
            dataclasses.replace(part, **{text: change(getattr(part, text)) for text in texts})
            for part in getattr(problem, name)
        )
    turns = lambda messages: tuple(dataclasses.replace(one, content=change(one.content)) for one in messages)
    changed["pairs"] = tuple(
        dataclasses.replace(
            pair, chosen_messages=turns(pair.chosen_messages), rejected_messages=turns(pair.rejected_messages)
        )
        for pair in changed["pairs"]
    )
    return (
        dataclasses.replace(problem, **changed)
        if any(getattr(problem, k) != v for k, v in changed.items())
        else problem
    )


def special_tokens_in(text: str, special: tuple[str, ...]) -> list[str]:
    """The special tokens in a text, in order."""
    return _pattern(special, False)[0].findall(text) if special else []


def literal_backend(data: dict[str, Any], special: Sequence[str]) -> Any:
    """A `tokenizers.Tokenizer` in which the special tokens are called by their shielded names.

    The ids are the same. It reads `<|im_end|>` as text and its shielded form as the control token.

    Args:
        data: the JSON of the tokenizer (`Tokenizer.to_str`); it is changed.
        special: the special tokens to rename.
    """
    from tokenizers import Tokenizer

    names = {token: _shielded(token) for token in special}
    for token in data["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    model = data["model"]
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(token, token): number for token, number in vocabulary.items()}
    elif isinstance(vocabulary, list):  # Unigram: [token, score] by id
        model["vocab"] = [[names.get(token, token), score] for token, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    data["post_processor"] = None  # It adds special tokens, which are never asked for, and may trim offsets.
    return Tokenizer.from_str(json.dumps(data))
