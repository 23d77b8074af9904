"""Answers to words of a command line that are not understood: what is wrong, and what to write."""

import pathlib
import re
from collections.abc import Collection, Sequence
from typing import Any

from mtjax.errors import nearest, suggest
from mtjax.io.foreign_names import NOT_OFFERED, our_choice, our_setting
from mtjax.io.words import Part, accepts, choices_of, classes_in, is_part, settings_of_choices

PLAIN = (
    (r"^(Value error |Invalid choice |Missing argument )?(Error parsing [A-Za-z][\w.]*: )?", ""),
    (r"invalid literal for int\(\) with base 10: ('.*?')", r"\1 is not a whole number"),
    (r"could not convert string to float: ('.*?')", r"\1 is not a number"),
    (r"no type matching (\S+) could be instantiated from \[(.*?)\]\. Got errors:.*", r"\2 is not \1"),
    (r"^Required options Missing from .*?: (--[\w.]+)(?: \{?\S+)? (.*?) \(required\).*", r"\1 is missing: \2"),
    (r"^Missing subcommand Expected one of \{(.*?)\}\.?", r"a choice is missing: expected one of \1"),
    (r"^Missing value for argument '(--[\w.]+)'.*", r"\1 needs a value: \1=..."),
)
"""What tyro says, and what it becomes."""


def answer(said: str, given: Sequence[str], names: dict[str, Any], kind: Any) -> str:
    """One plain sentence from what tyro prints in boxes.

    `names` are the settings of the settings class `kind`, and the parts with the value `Part`.

    Empty where the choices among the words are better answered without the others.
    """
    lines = [line.strip("│╭╮╰╯─ \n") for line in said.splitlines()]
    text = re.sub(r"\s+", " ", " ".join(line for line in lines if set(line) - set("─- ")))
    # What the user can use begins after tyro's headline and ends before its pointer to the help text.
    text = re.split(r" Argument helptext:| For full helptext,", text)[0]
    free = choices_of(next(classes_in(kind)), given)
    if text.startswith("Missing subcommand") and (word := _misspelt(given, set(free), names)):
        return unknown(word, given, names, kind)
    for pattern, plain in PLAIN:
        text = re.sub(pattern, plain, text)
    if choice := re.match(r"invalid choice '(.*?)' for argument '(--[\w.]+)'\. Expected one of \((.*?),?\)", text):
        known = re.findall(r"'(.*?)'", choice[3])
        return f"{choice[2]}={choice[1]}: {suggest(choice[1], known)}"
    if parsing := re.match(r"Error parsing --([\w.]+): (.*)", text):
        instead = f"; it is {names[parsing[1]]!r} without this option" if parsing[1] in names else ""
        return f"--{parsing[1]}: {parsing[2]}{instead}"
    return text


def _misspelt(given: Sequence[str], free: Collection[str], names: dict[str, Any]) -> str | None:
    """The first word that would choose among `free`, if it were one of them."""
    parts = {word.partition(":")[0] for word in free}
    return next((word for word in given if word.partition(":")[0] in parts and ":" in word and word not in free), None)


def unknown(word: str, given: Sequence[str], names: dict[str, Any], kind: Any) -> str:
    """One plain sentence about a word that is neither a setting nor a choice; the arguments are those of `answer`."""
    choices = list(choices_of(next(classes_in(kind)), given))
    if not word.startswith("-"):
        return _unknown_word(word, choices, given, names)
    if "=" not in word and word in given[:-1] and not given[given.index(word) + 1].startswith("-"):
        word += f"={given[given.index(word) + 1]}"
    return _unknown_setting(word, choices, names, kind)


def _unknown_word(word: str, choices: Sequence[str], given: Sequence[str], names: dict[str, Any]) -> str:
    """The answer to a word without dashes that tyro does not know; `choices` are those that it knows."""
    part, colon, choice = word.replace("-", "_").partition(":")
    if not colon:
        if switch := next((other for other in given if other.endswith(f"={word}")), None):
            return f"{switch}: a switch takes True or False"
        name, equals, value = word.partition("=")
        if equals and is_part(name, names):
            return f"'{word}' is not an option; write " + (
                f"{name}:{value}" if names.get(name, Part) is Part else f"--{word}"
            )
        if equals and (ours := our_setting(name, lambda other: other in names or is_part(other, names))):
            return f"'{word}' is not an option; here it is {ours}"
        return f"'{word}' is not a setting: they are --name=value, or a choice such as objective:nll, or leave it out"
    if of_part := [other.partition(":")[2] for other in choices if other.startswith(f"{part}:")]:
        return f"unknown {part} '{choice}'; {_right_choice(part, word.partition(':')[2], of_part)}"
    if sum(other.startswith(f"{part}:") for other in given) > 1:
        return f"'{word}': {part} is chosen already; say it once"
    if is_part(part, names):
        return "" if len(given) > 1 else _group(part, choice, names)
    parts = {other[: dot.start()] for other in names for dot in re.finditer(r"\.", other)}
    like = next((other for other in sorted({*parts, *names}) if other.endswith(f".{part}")), nearest(part, parts))
    choice = our_choice(part, choice) or choice
    hint = f"; did you mean {like}:{choice}?" if like else "; --help lists all"
    return f"'{word}': nothing named {part} can be chosen{hint}"


def _group(part: str, value: str, names: dict[str, Any]) -> str:
    """The answer to a value for a part, which has settings of its own."""
    inner = sorted({other.removeprefix(f"{part}.").split(".")[0] for other in names if other.startswith(f"{part}.")})
    near = our_setting(part, names.__contains__) or f"--{part}.{nearest(value, inner) or inner[0]}"
    return f"{part} is a group of settings ({', '.join(inner)}); perhaps you meant {near}"


def _right_choice(part: str, value: str, known: Sequence[str]) -> str:
    """The way out for a choice that is not registered: our name for it, the source of a file, or the nearest name."""
    if part.endswith("source") and "jsonl" in known and pathlib.PurePath(value).suffix in (".jsonl", ".json"):
        return f"a file of JSON lines is {part}:jsonl --{part}.path={value}"
    if ours := our_choice(part, value, known):
        return f"here it is {part}:{ours} (known: {', '.join(sorted(known))})"
    return suggest("" if value.lower() in NOT_OFFERED else value, known)


def _alike(part: str, names: Sequence[str]) -> str | None:
    """The nearest name, if its last word is like that of `part` too: all settings of one group begin alike."""
    found = nearest(part, names, 0.7)
    last = found and nearest(part.rpartition(".")[2], [found.rpartition(".")[2]], 0.7)
    return found if last else None


def _of_choices(name: str, value: str, kind: Any) -> str | None:
    """The answer to a setting that only choices have which are not chosen; None where no choice has it."""
    part = name.lstrip("-").replace("-", "_")
    first, _, last = part.rpartition(".")
    found = [one for cls in classes_in(kind) for one in settings_of_choices(cls)]
    exact = [one for one in found if one[0] == re.sub(r"\bno_(?=\w+$)", "", part)]
    if not exact and first:  # with less in front, or the choice in front: `adapter.rank`, `lora.rank`
        near = [one for one in found if one[0].endswith(f".{part}")]
        near += [one for one in found if one[0].endswith(f".{last}") and re.search(rf"[.:]{re.escape(first)}$", one[1])]
        near += [one for one in found if one[0].startswith(f"{first}.") and one[0].endswith(f".{last}")]
        return f"unknown setting {name}; here it is {near[0][1]} --{near[0][0]}{value and '='}{value}" if near else None
    of = list(dict.fromkeys(word for _, word, hint in exact if accepts(hint, value)))
    of = of or list(dict.fromkeys(word for _, word, _ in exact))
    if not of:
        return None
    if len(of) == 1:
        return f"{name} is a setting of another choice, {of[0]}: choose that, or leave it out"
    listed = f"{'such as ' if len(of) > 4 else ''}{', '.join(of[:4][:-1])} or {of[:4][-1]}"
    return f"{name} is a setting of other choices, {listed}: choose one, or leave it out"


def _unknown_setting(word: str, choices: Sequence[str], names: dict[str, Any], kind: Any) -> str:
    """The answer to a word with dashes that tyro does not know; `choices` are those that it knows."""
    name, _, value = word.partition("=")
    part = name.lstrip("-").replace("-", "_")
    if ":" in part and is_part(part.split(":")[0], names):
        return f"{name} is chosen by a word without dashes: {part}"
    if of_part := [other.partition(":")[2] for other in choices if other.startswith(f"{part}:")]:
        if value.lower() in of_part or not value:
            return f"{name} is chosen by a word without dashes: {part}:{value.lower() or of_part[0]}"
        return f"{name}={value}: {_right_choice(part, value, of_part)}"
    listed = lambda other: other in names or is_part(other, names)
    if "." in part and (ours := our_setting(name, listed, whole=True)):
        return f"unknown setting {name}; here it is {ours}"
    if of_choices := _of_choices(name, value, kind):
        return of_choices
    if any(other.startswith(f"{part}.") for other in names):
        return _group(part, value, names)
    if ours := our_setting(name, listed):
        return f"unknown setting {name}; here it is {ours}"
    settings = [other for other, value in names.items() if value is not Part]
    of_others = {own for cls in classes_in(kind) for own, _, _ in settings_of_choices(cls) if "." in part}
    of_others -= {*settings}
    like = _alike(part, [*settings, *sorted(of_others)])
    if like in of_others:
        return f"unknown setting {name}. {_of_choices(f'--{like}', value, kind)}"
    last_words = {other.rpartition(".")[2]: other for other in sorted(settings, reverse=True)}
    like = like or last_words.get(nearest(part.rpartition(".")[2], last_words, 0.8) or "")
    return f"unknown setting {name}; {f'did you mean --{like}?' if like else '--help lists all'}"
