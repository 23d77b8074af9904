"""Preference records in TRL's format as a source."""

import dataclasses
from typing import Any, ClassVar

from mtjax.data.formats.preferences import pair_of
from mtjax.data.problem import Problem, without_nulls
from mtjax.data.sources.base import SOURCES, FileSource
from mtjax.errors import InputError

KEYS = ("prompt", "chosen", "rejected", "system", "tools")  # Keys that are read; others are left out.


@SOURCES.register("trl")
@dataclasses.dataclass(frozen=True)
class Trl(FileSource):
    """Preference records of TRL: `prompt`, `chosen` and `rejected`, as texts or as conversations.

    `python -m mtjax.inject --format=trl` writes such files. `prompt` may be left out if both conversations begin with
    it. The source `files` reads them too, with their ids.
    """

    example: ClassVar[str] = '{"prompt": "6 + 1?", "chosen": "It is 7.", "rejected": "It is 8."}\n'

    def parse(self, record: Any, where: str, id: str) -> Problem:
        record = without_nulls(record)
        if not isinstance(record, dict) or not {"chosen", "rejected"} <= record.keys():
            raise InputError(f"{where}: got {record!r:.80}; expected prompt, chosen and rejected")
        if isinstance(record["chosen"], str) and "prompt" not in record:
            raise InputError(f"{where}: no 'prompt' beside two texts; add it, or read the file with data.source:files")
        known = {key: value for key, value in record.items() if key in KEYS}
        return dataclasses.replace(pair_of(known, where, id), source="trl")
