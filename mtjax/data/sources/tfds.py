"""TFDS data sets as a source with random access, and our own builder of them; both without TensorFlow."""

import dataclasses
import pathlib
from typing import Any

from mtjax.data.problem import OnError, Problem, Problems, Split, problem_from_record, record_from_problem
from mtjax.data.sources.base import SOURCES, Source, fingerprint_of, problems_of_rows, rename_keys
from mtjax.data.sources.jsonl import Jsonl
from mtjax.errors import InputError, suggest


def _native(value: Any) -> Any:
    """TFDS values as JSON would give them: text comes back as bytes, lists as arrays, lists of dicts transposed."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {key: _native(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _native(value.tolist())
    return [_native(item) for item in value] if isinstance(value, list | tuple) else value


def _record(row: dict[str, Any], columns: tuple[str, ...], where: str) -> dict[str, Any]:
    record = rename_keys(_native(row), columns, where)
    turns = record.get("messages")
    if isinstance(turns, dict):
        pairs = zip(turns["role"], turns["content"], strict=True)
        record["messages"] = [{"role": role, "content": content} for role, content in pairs]
    # A feature is there for every row; what a row leaves out is empty. A question is kept even when empty.
    kept = {key: value for key, value in record.items() if key in ("question", "prompt", "answer", "id") or value}
    if kept.get("messages"):
        kept = {key: value for key, value in kept.items() if key in ("id", "messages", "source")}
    return kept


@SOURCES.register("tfds")
@dataclasses.dataclass(frozen=True)
class Tfds(Source):
    """A prepared TFDS data set in ArrayRecord files, read by `tfds.data_source` with random access."""

    folder: str  # The version folder (it holds `dataset_info.json`), such as the one `build_tfds` returns.
    part: str = "train"  # Its own split.
    columns: tuple[str, ...] = ()  # Features to take, each `key` or `theirs=ours`, as a record in a schema; empty: all.
    split: Split = "all"  # Which part of those, by hash of the question.

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems, read lazily; InputError for a folder that holds no such data set or part."""
        import tensorflow_datasets as tfds

        if not (pathlib.Path(self.folder) / "dataset_info.json").is_file():
            raise InputError(
                f"'{self.folder}' holds no dataset_info.json; expected the version folder of a prepared TFDS data set, "
                "such as mtjax.data.sources.tfds.build_tfds returns"
            )
        builder = tfds.builder_from_directory(self.folder)
        if self.part not in builder.info.splits:
            raise InputError(f"'{self.folder}' has no part {self.part!r}: {suggest(self.part, builder.info.splits)}")
        try:
            rows = builder.as_data_source(split=self.part)
        except NotImplementedError as error:
            raise InputError(
                f"'{self.folder}' is not in ArrayRecord files ({error}); prepare it with file_format='array_record'"
            ) from error

        def make(number: int, row: Any) -> Problem:
            where = f"{pathlib.Path(self.folder).parent.name}/{self.part}[{number}]"
            return problem_from_record(_record(row, self.columns, where), where)

        return problems_of_rows(make, rows, self.folder, on_error, self.split)

    def fingerprint(self) -> str:
        files = sorted(pathlib.Path(self.folder).iterdir())
        return fingerprint_of(self, "folder", content=(f"{f.name}\0".encode() + f.read_bytes() for f in files))


def build_tfds(
    jsonl: str, folder: str, *, name: str = "problems", split: Split = "all", on_error: OnError = "raise"
) -> str:
    """Build a TFDS data set in ArrayRecord files from a JSONL file, in the order of its lines; return its folder.

    Its one part is "train"; its features are id, question, answer, right, wrong, messages and source. Raises InputError
    as `Jsonl` does, for a name that is not lower case letters, digits and `_`, and if a data set of that name exists.
    """
    import tensorflow_datasets as tfds
    from etils import epath

    if not (name.isidentifier() and name == name.lower()):
        raise InputError(f"data set name {name!r}: expected lower case letters, digits and '_', such as 'problems'")
    there = pathlib.Path(folder) / name
    if there.exists():
        raise InputError(f"'{there}' is there already; remove it, or choose another folder or name")
    problems = Jsonl(jsonl, split).problems(on_error).items
    text = tfds.features.Text()
    features = dict.fromkeys(("id", "question", "answer", "source"), text)
    features |= dict.fromkeys(("right", "wrong"), tfds.features.Sequence(text))
    features["messages"] = tfds.features.Sequence({"role": text, "content": text})
    empty = {"question": "", "answer": "", "source": "", "right": [], "wrong": [], "messages": []}

    class Problems(tfds.core.GeneratorBasedBuilder):
        """The records of one JSONL file."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            # TFDS stores examples in hashed order unless told not to; then keys are their numbers.
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            return ((number, empty | record_from_problem(problem)) for number, problem in enumerate(problems))

    # TFDS would look for the file and the README of the class, which needs importlib_resources (undeclared in 4.9.10).
    Problems.name = Problems.__module__ = name
    Problems.pkg_dir_path = epath.Path(folder)
    builder = Problems(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return str(builder.data_dir)
