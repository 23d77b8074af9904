"""Data sets of the Hugging Face hub as a source (optional extra `hub`), and problems read only when asked for."""

import dataclasses
from typing import Any

from mtjax.data.problem import OnError, Problem, Problems, Split, problem_from_record
from mtjax.data.sources.base import SOURCES, Source, content_digest, problems_of_rows, rename_keys, settings_digest
from mtjax.errors import InputError


@SOURCES.register("hub")
@dataclasses.dataclass(frozen=True)
class Hub(Source):
    """A data set that `datasets.load_dataset` can load: an id of the Hugging Face hub or a local folder."""

    path: str  # The id (`openai/gsm8k`) or the folder.
    subset: str | None = None  # Its configuration, such as "main"; None where there is only one.
    part: str = "train"  # Its own split, such as "train" or "test".
    columns: tuple[str, ...] = ()
    """Columns to take, each `key` or `theirs=ours`; the result is a record in one of the schemas. Empty takes all."""
    split: Split = "all"  # Which part of those, by hash of the question.

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems, read lazily; InputError without the package `datasets`, without network, or for a bad name."""
        try:
            import datasets
        except ImportError as error:
            raise InputError(
                f"Hub({self.path!r}) needs the package 'datasets': pip install 'mtjax[hub]', or use JSONL"
            ) from error
        try:
            rows = datasets.load_dataset(self.path, self.subset, split=self.part)
        except Exception as error:  # datasets raises many kinds: no network, no such set, no such split
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(
                f"data set {self.path!r} (subset {self.subset!r}, part {self.part!r}) cannot be loaded: {reason:.200}; "
                "check the names and the network, or give a local folder"
            ) from error

        def make(row: Any, number: int) -> Problem:
            name = f"{self.path}[{number}]"
            # A column is there for every row; what a row leaves out is None.
            given = {key: value for key, value in rename_keys(dict(row), self.columns).items() if value is not None}
            return problem_from_record(given, name)

        return problems_of_rows(rows, make, self.path, on_error, self.split)

    def fingerprint(self) -> str:
        """sha256 of settings and content; reads the whole set once."""
        return content_digest(settings_digest(self), self.problems("skip").items)
