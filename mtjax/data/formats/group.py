"""Groups: several completions of one prompt with their rewards, and what was recorded when they were drawn."""

import dataclasses
import math
from typing import Any, ClassVar

from mtjax.data.formats.base import FORMATS, LIST, TALK, Format, numbered, texts_of, turns_of, with_context
from mtjax.data.messages import message_record
from mtjax.data.problem import Candidate, Problem
from mtjax.errors import InputError
from mtjax.io.jsonl import field_of

PER_TOKEN = {"completion_ids": "ids", "logprobs": "logprobs", "proposal_logprobs": "proposal_logprobs"}
"""Keys with a list for each completion, and the fields of a `Candidate` that have them."""
OWN = ("id", "kind", "reward", "advantage", "success_rate", "polarity", "finished", "difficulty", "without_prompt")
"""Names that `numbers` cannot have, since batches use them."""


@FORMATS.register("group")
class Group(Format):
    """Several completions of one prompt, each with a reward.

    If all rewards are 0 or 1 (or -1 or 1), they say which completions are wrong and right. A reward of null is not
    known. Optional, with one entry for each completion: `completion_ids` (its tokens, an end token included),
    `logprobs` and `proposal_logprobs` (of each of these tokens, by the model itself and under the distribution that was
    drawn from), `finished` (false: cut at a longest length), and `numbers`, an object with lists by name.
    """

    needs: ClassVar = {"prompt": TALK, "completions": LIST, "rewards": LIST}
    takes: ClassVar = (*PER_TOKEN, "finished", "numbers", "tools")
    example: ClassVar = {"prompt": "1 + 1 =", "completions": ["2", "3"], "rewards": [1.0, 0.0]}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        texts, given = texts_of(record, "completions", where), field_of(record, "rewards", LIST, where)
        for number, reward in enumerate(given):
            if reward is not None and not _is_number(reward):
                raise InputError(f"{where}: rewards[{number}] is {reward!r:.80}; expected a number, or null")
        if len(texts) != len(given) or not texts:
            raise InputError(f"{where}: {len(texts)} completions and {len(given)} rewards; expected one for each")
        about: list[dict[str, Any]] = [{} for _ in texts]
        for key, name in PER_TOKEN.items():
            for one, values in zip(about, _lists(record, key, len(texts), where), strict=True):
                one[name] = values
        for number, one in enumerate(about):
            sizes = {key: len(one[name]) for key, name in PER_TOKEN.items() if one.get(name)}
            if len({*sizes.values()}) > 1:
                raise InputError(f"{where}: completion {number} has {sizes}; expected one number for each token")
        for key, known in _numbers(record, len(texts), where).items():
            for one, value in zip(about, known, strict=True):
                one.setdefault("numbers", {})[key] = value
        for one, ended in zip(about, _per_completion(record, "finished", len(texts), where), strict=True):
            if ended not in (None, True, False):
                raise InputError(f"{where}: finished has {ended!r:.40}; expected true or false")
            one["finished"] = ended is not False
        members = [
            Candidate(text, None if reward is None else float(reward), **one)
            for text, reward, one in zip(texts, given, about, strict=True)
        ]
        judged = {one.reward for one in members} - {None}
        graded = judged <= {0, 1} or judged <= {-1, 1}
        if not graded:
            self.found["{} groups have rewards other than 0 and 1, so that no completion counts as right or wrong"] += 1
        sides = [tuple(one.text for one in members if graded and one.reward in want) for want in ({1}, {0, -1})]
        tools = {"tools": record["tools"]} if record.get("tools") else {}
        prompt = turns_of(field_of(record, "prompt", TALK, where), "user")
        problem = with_context({k: v for k, v in record.items() if k != "tools"}, where, id, prompt, **tools)
        return dataclasses.replace(problem, right=sides[0], wrong=sides[1], candidates=tuple(members))

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        rewarded = any(one.reward is not None for one in problem.candidates)
        members = list(problem.candidates) if rewarded else []
        members = members or [Candidate(text, 1.0) for text in problem.right]
        members = members if rewarded else members + [Candidate(text, 0.0) for text in problem.wrong]
        talk = bool(problem.messages) and problem.messages[-1].role != "assistant"
        if not members or (problem.messages and not talk):
            return []
        prompt = [message_record(one) for one in problem.messages] if talk else problem.question
        record: dict[str, Any] = {"prompt": prompt, "completions": [one.text for one in members]}
        record["rewards"] = [one.reward for one in members]
        for key, name in PER_TOKEN.items():
            if any(getattr(one, name) for one in members):
                record[key] = [list(getattr(one, name)) for one in members]
        if not all(one.finished for one in members):
            record["finished"] = [one.finished for one in members]
        names = dict.fromkeys(name for one in members for name in one.numbers)
        record |= {"numbers": {name: [one.numbers.get(name) for one in members] for name in names}} if names else {}
        return numbered(problem, [record | ({"tools": list(problem.tools)} if problem.tools else {})])


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and math.isfinite(value)


def _per_completion(record: dict[str, Any], key: str, number: int, where: str) -> list[Any]:
    """What a key says of each completion; None of each where it is not there."""
    if key not in record:
        return [None] * number
    values = field_of(record, key, LIST, where)
    if len(values) != number:
        raise InputError(f"{where}: {number} completions and {len(values)} {key}; expected one for each")
    return list(values)


def _lists(record: dict[str, Any], key: str, number: int, where: str) -> list[tuple[Any, ...]]:
    """The list of numbers that a key has for each completion; empty where it has none."""
    whole, found = key == "completion_ids", []
    for place, values in enumerate(_per_completion(record, key, number, where)):
        values = () if values is None else values
        fits = isinstance(values, list | tuple) and all(
            isinstance(x, int) and not isinstance(x, bool) if whole else _is_number(x) for x in values
        )
        if not fits:
            kind = "token ids" if whole else "finite numbers, one for each token"
            raise InputError(f"{where}: {key}[{place}] is {values!r:.80}; expected a list of {kind}")
        found.append(tuple(values) if whole else tuple(map(float, values)))
    return found


def _numbers(record: dict[str, Any], number: int, where: str) -> dict[str, list[float]]:
    """The lists in `numbers`, by name."""
    found = {}
    for name, values in field_of(record, "numbers", (dict,), where).items() if "numbers" in record else ():
        if not str(name).isidentifier() or name in OWN:
            raise InputError(f"{where}: numbers has the name {name!r}; expected a word, and none of {', '.join(OWN)}")
        if not isinstance(values, list | tuple) or len(values) != number or not all(map(_is_number, values)):
            raise InputError(f"{where}: numbers[{name!r}] is {values!r:.80}; expected a number for each completion")
        found[name] = [float(value) for value in values]
    return found
