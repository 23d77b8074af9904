"""What is found in the texts of records while they are tokenised, as sentences of the data report."""

import collections
from collections.abc import Sequence
from typing import Any

from mtjax.data.problem import Problem
from mtjax.data.special_tokens import map_texts, shield, special_tokens_in
from mtjax.data.tasks.base import Rendered


class Found:
    """Counts of what a user should know about the texts of a source; `notes` gives a sentence for each."""

    def __init__(self, task: Any, tokenizer: Any):
        self.task, self.tokenizer = task, tokenizer
        self.special: collections.Counter[str] = collections.Counter()
        self.number: collections.Counter[str] = collections.Counter()
        self.first: dict[str, str] = {}

    def add(self, kind: str, example: str) -> None:
        """Count one more of a kind, and keep the first example of it."""
        self.number[kind] += 1
        self.first.setdefault(kind, example)

    def merge(self, later: "Found") -> None:
        """Add what was found in the records that follow."""
        self.special.update(later.special)
        self.number.update(later.number)
        self.first = later.first | self.first

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"task": None, "tokenizer": None}  # they are known where a piece is merged

    def look(self, problem: Problem) -> Problem:
        """Count what is in the texts of a problem; returns it with special tokens shielded, unless they are control."""
        kinds = set()

        def look(text: str) -> str:
            if text != text.strip():
                kinds.add("edges")
            if special := special_tokens_in(text, self.tokenizer.special):
                self.special.update(special)
                kinds.add("special")
            return text

        turns = [turn.content for turn in problem.messages]  # the first of the user is the question
        for text in (*(turns or [problem.question]), *problem.right, *problem.wrong):
            look(text)
        for pair in problem.pairs:
            for message in (*pair.chosen_messages, *pair.rejected_messages):
                look(message.content)
            full = pair.kind == "full" and not pair.context  # white space around a step belongs to it
            joint = f"{pair.context}{pair.chosen}{pair.rejected}".strip()
            for text in (pair.chosen, pair.rejected) if full else (joint,):
                look(text)
        for kind in kinds:
            self.add(kind, problem.place)
        if "special" not in kinds or self.task.special_tokens == "control":
            return problem
        return map_texts(problem, lambda text: shield(text, self.tokenizer.special))

    def remark(self, texts: Sequence[Rendered], id: str) -> None:
        """Count what is remarkable about the sequences of one example."""
        if any(text.altered for text in texts):
            self.add("altered", id)
        for kind, detail in {kind: detail for text in texts for kind, detail in text.remarks.items()}.items():
            self.add(kind, detail)

    def notes(self) -> tuple[str, ...]:
        """One sentence per kind that was found."""
        number, first, cut, name = self.number, self.first, self.task.strip, self.tokenizer.name
        listed = ", ".join(f"{token} {count:,}" for token, count in self.special.most_common(4))
        control = self.task.special_tokens == "control"
        sentences = {
            "fault": f"{number['fault']:,} records skipped that cannot be rendered; the first: {first.get('fault')}",
            "special": f"special tokens in {number['special']:,} records ({listed}; first in {first.get('special')}) "
            + (
                "are control tokens; data.task.special_tokens=text trains them as text"
                if control
                else "are trained as text; data.task.special_tokens=control makes them control tokens"
            ),
            "edges": f"white space around texts of {number['edges']:,} records is "
            + ("cut (data.task.strip)" if cut else "trained as given; data.task.strip=True cuts it"),
            "altered": f"the chat template changes or leaves out messages in {number['altered']:,} examples, such "
            f"as white space that it trims; the first is {first.get('altered')}",
            "marks": "the {% generation %} marks of the chat template differ from the targets, which are trained, in "
            f"{number['marks']:,} examples; the first: {first.get('marks')}",
            "turns": "the chat template renders turns differently once others follow (such as without their thoughts): "
            f"{number['turns']:,} turns are sequences of their own, as at inference; the first in {first.get('turns')}",
            "names": f"the chat template does not show the names of speakers that {number['names']:,} examples have; "
            f"the first in {first.get('names')}",
            "misspelt": f"tokenizer {name!r} cannot hold the targets of {number['misspelt']:,} examples exactly; the "
            f"first: {first.get('misspelt')}",
        }
        notes = [text for kind, text in sentences.items() if number[kind]]
        if self.task.is_chat and "strftime_now" in (self.tokenizer.chat_template or ""):
            notes.append(f"the chat template shows the date {self.task.date} (data.task.date), in every run the same")
        return tuple(notes)
