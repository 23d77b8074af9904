"""Flash cards: one JSON object per line, with the keys `front` and `back`."""

import dataclasses
from typing import Any, ClassVar

from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES, FileSource, field_of


@SOURCES.register("flash_cards")
@dataclasses.dataclass(frozen=True)
class FlashCards(FileSource):
    """Flash cards: the front is the question; the back is its answer and its only right solution."""

    example: ClassVar[str] = '{"front": "7 * 8", "back": "56"}\n'

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The problem of one card."""
        back = field_of(record, "back", str, where)
        return Problem(id, field_of(record, "front", str, where), back, (back,), source="flash_cards")
