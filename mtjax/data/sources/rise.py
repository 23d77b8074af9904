"""RISE's released preference pairs as a source."""

import dataclasses
from typing import Any, ClassVar

from mtjax.data.problem import Pair, Problem
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError

RISE_KEYS = ("idx", "dataset", "prompt", "initial_reason_steps", "chosen", "rejected", "answer")


@SOURCES.register("rise")
@dataclasses.dataclass(frozen=True)
class Rise(FileSource):
    """RISE pair records: one preference pair each, of complete solutions or of the step after a right prefix.

    The records do not say whether the rejected side was checked.

    Source: Xu et al., "Subtle Errors in Reasoning: Preference Learning via Error-injected Self-editing", 2025
    (arXiv 2410.06638).
    """

    example: ClassVar[str] = (
        '{"idx": 0, "dataset": "gsm8k", "prompt": "6 + 1?", "initial_reason_steps": "", "chosen": "It is 7.",'
        ' "rejected": "It is 8.", "answer": "7"}\n'
    )

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """A pair of complete solutions if `initial_reason_steps` is empty, else of a step after these."""
        texts = ("initial_reason_steps", "chosen", "rejected", "prompt")
        prefix, chosen, rejected, question = (field_of(record, key, str, where) for key in texts)
        missing = [key for key in RISE_KEYS if key not in record]
        if missing:
            raise InputError(f"{where}: no key {missing[0]!r}; a RISE pair record has {', '.join(RISE_KEYS)}")
        pair = Pair(prefix, chosen, rejected, "step" if prefix else "full")
        name = f"{record['dataset']}:{record['idx']}"
        return Problem(name, question, str(record["answer"]), pairs=(pair,), source="rise")
