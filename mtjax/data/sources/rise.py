"""RISE's released preference pairs as a source."""

import dataclasses
from typing import Any, ClassVar

from mtjax.data.formats import FORMATS
from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES, FileSource


@SOURCES.register("rise")
@dataclasses.dataclass(frozen=True)
class Rise(FileSource):
    """RISE pair records: one preference pair each, of complete solutions or of the step after a right prefix.

    The records do not say whether the rejected side was checked. The source `files` reads them too.

    Source: Xu et al., "Subtle Errors in Reasoning: Preference Learning via Error-injected Self-editing", 2025
    (arXiv 2410.06638).
    """

    example: ClassVar[str] = (
        '{"idx": 0, "dataset": "gsm8k", "prompt": "6 + 1?", "initial_reason_steps": "", "chosen": "It is 7.",'
        ' "rejected": "It is 8.", "answer": "7"}\n'
    )

    def parse(self, record: Any, where: str, id: str) -> Problem:
        return FORMATS["rise"]().read(record, where, id)
