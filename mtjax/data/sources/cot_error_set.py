"""CoTErrorSet: questions with a human rationale and the wrong rationale of a model."""

import dataclasses
import re
from typing import Any, ClassVar

from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError

COT_ERROR_KEYS = (
    ("question", "input"),
    ("correct_reference", "correct_rationale", "reference"),
    ("incorrect_rationale", "incorrect_reference"),
)
"""The keys of question, right and wrong rationale; case, spaces and hyphens of a key do not matter."""


@SOURCES.register("cot_error_set")
@dataclasses.dataclass(frozen=True)
class CotErrorSet(FileSource):
    """CoTErrorSet records: a question, the human rationale, and the wrong rationale of a model (Tong et al., 2024).

    Field names follow the paper's table (question, correct reference, incorrect rationale); what it says of the cause
    (error cause, error name, error type) is not part of a `Problem` and is left out.
    """

    marks: ClassVar[tuple[str, ...]] = ("correct_reference", "incorrect_rationale")
    example: ClassVar[str] = (
        '{"question": "2 + 2?", "correct_reference": "It is 4.", "incorrect_rationale": "It is 5."}\n'
    )

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """One right and one wrong solution; there is no separate final answer."""
        if not isinstance(record, dict):
            raise InputError(f"{where}: got {record!r:.80}; expected an object")
        plain = {re.sub(r"[ -]", "_", str(key).lower()): value for key, value in record.items()}
        keys = (next((name for name in names if name in plain), names[0]) for names in COT_ERROR_KEYS)
        question, right, wrong = (field_of(plain, key, str, where) for key in keys)
        return Problem(id, question, right=(right,), wrong=(wrong,), source="cot_error_set")
