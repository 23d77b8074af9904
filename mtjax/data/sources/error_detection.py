"""The question whether a response has an error, of every right and wrong solution of a file."""

import dataclasses
from typing import Annotated, Any

from annotated_types import Ge, Le

from mtjax.data.problem import OnError, Problem, Problems, Split, in_split
from mtjax.data.sources.base import SOURCES, Source, fingerprint_of, nonempty
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.validation import Address, check_types

ERROR, NO_ERROR = "error", "no_error"
WORDINGS = (
    "Here is a request, and a response to it.\n\nRequest:\n{question}\n\nResponse:\n{response}\n\n"
    "Does the response have an error?",
    "You check the work of an assistant. It was asked:\n{question}\n\nIt replied:\n{response}\n\n"
    "Is there a mistake in its reply?",
)
ORDERS = ((ERROR, NO_ERROR), (NO_ERROR, ERROR))
CLOSING = {False: "Reply with A or B.", True: "Explain first. End with a line 'Answer: A' or 'Answer: B'."}


@SOURCES.register("error_detection")
@dataclasses.dataclass(frozen=True)
class ErrorDetection(Source):
    """Questions whether a response has an error, about the right and wrong solutions of a file of any known format.

    Such as `realmistake`, `bigbench_mistake` or mined solutions. Each response is asked in `prompts` ways: two wordings
    times two orders of the options. For the metrics `error_detection` (replies) and `error_probability` (letters), and
    for training a detector with `data.task:completion`.

    Source: Kamoi et al., "Evaluating LLMs at Detecting Errors in LLM Responses", COLM 2024 (arXiv 2404.03602), for the
    protocol; the wordings are ours.
    """

    path: Annotated[str, Address]  # A file, folder, pattern or address that one of the other sources reads.
    of: str = "auto"  # Which source reads it, such as realmistake; auto: by the keys of the first record.
    split: Split = "all"  # Which part, by hash of the question that the responses answer.
    prompts: Annotated[int, Ge(1), Le(4)] = 4  # In how many ways each response is asked.
    explain: bool = False  # Ask for an explanation before the letter, as the paper does; for models that can.
    each: Annotated[int, Ge(1)] | None = None  # Most responses of a problem; None asks of all.

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The responses in a shuffled order, each with its prompts side by side; InputError if there are none."""
        check_types(self, "ErrorDetection")
        found = self._source().problems(on_error)
        items: list[tuple[float, list[Problem]]] = []
        for problem in found.items:
            if not in_split(problem.question, self.split):
                continue
            both = [(text, kind) for kind in ("right", "wrong") for text in dict.fromkeys(getattr(problem, kind))]
            for number, (text, kind) in enumerate(both[: self.each]):
                name = f"{problem.id}/{number}"
                items.append((unit(name), [self._asked(problem, text, kind, name, way) for way in range(self.prompts)]))
        items.sort(key=lambda one: (one[0], one[1][0].id))  # so that a limit keeps right and wrong ones
        flat = [problem for _, own in items for problem in own]
        if found.items and not flat and self.split == "all":
            raise InputError(
                f"'{self.path}' has no right or wrong solutions to ask about (it is read by "
                f"{SOURCES.name_of(self._source())}); give records with some, such as mined solutions"
            )
        return nonempty(Problems(flat, found.skipped, tuple(found.notes)), self.path, self.split)

    def _source(self) -> Any:
        from mtjax.data.sources.detection import source_of  # it looks at all sources, this one included

        return source_of(self.path, self.of)

    def _asked(self, problem: Problem, text: str, kind: str, name: str, way: int) -> Problem:
        order, wording = ORDERS[way % 2], WORDINGS[way // 2]
        said = {ERROR: "There is an error.", NO_ERROR: "There is no error."}
        options = tuple(said[one] for one in order)
        asked = wording.format(question=problem.question.strip(), response=text.strip())  # braces in the texts stay
        listed = "\n".join(f"({letter}) {option}" for letter, option in zip("AB", options, strict=True))
        question = f"{asked}\n{listed}\n{CLOSING[self.explain]}"
        gold = "AB"[order.index(ERROR if kind == "wrong" else NO_ERROR)]
        letter = "AB"[order.index(ERROR)]
        source = f"{problem.source or 'responses'}#{letter}"
        right = () if self.explain else (gold,)
        return Problem(f"{name}#{way}", question, gold, right, source=source, options=options)

    def fingerprint(self) -> str:
        return fingerprint_of(self, "path", content=[self._source().fingerprint().encode()])
