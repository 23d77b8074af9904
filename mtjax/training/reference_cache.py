"""Log-probs of a reference, computed once, kept in a folder and looked up by example."""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import msgspec
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from mtjax.data.arrays import Index
from mtjax.data.batches import assemble
from mtjax.data.packing import pack
from mtjax.distributed import hosts
from mtjax.distributed.placement import own_rows, place_rows, read_whole
from mtjax.errors import InputError
from mtjax.io.files import atomic_file, delete_temporary, write_text
from mtjax.model.policy import make_policy
from mtjax.sharing import shared
from mtjax.types import Batch, LanguageModel, Params

Scorer = Callable[[Batch], np.ndarray]  # log-prob of every token of a batch, `[*B, T]` float32
PART = 512  # examples per file of a cache: what a kill can cost
SEGMENTS = 64  # most examples in a row while the log-probs are computed; the numbers do not depend on it


def make_scorer(model: LanguageModel, params: Params, mesh: Mesh | None, chunk: int = 128) -> Scorer:
    """The compiled function that `Cache.logprobs` computes with; every host gives the whole batch and gets all."""
    score = _score_program(model, chunk)

    def run(batch: Batch) -> np.ndarray:
        rows = own_rows(mesh, len(batch.tokens))
        placed = place_rows(jax.tree.map(lambda x: x[rows], batch), mesh)
        with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
            logprob: np.ndarray = read_whole(score(params, placed))
        return logprob

    return run


@shared()
def _score_program(model: LanguageModel, chunk: int) -> Any:
    """`(params, batch) -> log-prob` of every token, compiled."""
    return jax.jit(lambda params, batch: make_policy(model, params, chunk=chunk).scores(batch).logprob)


ABANDONED = 3600.0  # seconds after which an unfinished file is no longer another process's


class Manifest(msgspec.Struct):
    """What a folder of log-probs belongs to: settings by name, a digest of the examples and their number."""

    belongs_to: dict[str, Any]
    examples: str
    number: int


class Cache(NamedTuple):
    """Log-probs of a reference, in a folder.

    `manifest.json` says what they depend on; `part-00000.npz` and so on hold `PART` examples each. A part is written
    atomically and computed from its own examples alone: a killed build goes on with the same files.
    """

    folder: pathlib.Path
    belongs_to: dict[str, str]  # what the log-probs depend on, by name, such as weights, tokenizer, task.template

    def logprobs(
        self, index: Index, score: Scorer, *, rows: int, length: int, pad_id: int
    ) -> Float[np.ndarray, " tokens"]:
        """Log-prob of every token of the index under the reference; computed and kept where it is not there yet.

        Args:
            score: the reference's log-probs of a batch; see `make_scorer`.
            rows, length: shape of the batches it is computed in; `rows` must suit the mesh.

        Raises InputError where the folder is of another model, tokenizer, template, precision or other data, named.
        """
        manifest, parts = self._open(index), -(-len(index.ids) // PART)
        builds = manifest.examples == _digest(index)
        delete_temporary(self.folder, older_than=ABANDONED)
        for part in range(parts):
            file = self.folder / f"part-{part:05d}.npz"
            # Hosts compute together what one of them has not; each keeps it, be the folder shared or its own.
            if any(hosts.exchange(builds and not file.exists())):
                some = np.arange(part * PART, min((part + 1) * PART, len(index.ids)))
                arrays = _one_part(index, some, score, rows, length, pad_id)
                if builds and not file.exists():
                    with atomic_file(file) as temporary, temporary.open("wb") as opened:
                        np.savez(opened, allow_pickle=False, **arrays)
                    print(f"reference  {file.name} of {parts} kept in {self.folder}", flush=True)
        return self._read(index, -(-manifest.number // PART))

    def _open(self, index: Index) -> Manifest:
        """The manifest of the folder, which is made if missing; a folder that belongs to something else is refused."""
        there = next(place for place in (self.folder, *self.folder.absolute().parents) if place.exists())
        if not there.is_dir():
            raise InputError(f"reference.cache_dir: '{there}' is a file; expected a folder, or one that can be made")
        file = self.folder / "manifest.json"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            made = {"belongs_to": self.belongs_to, "examples": _digest(index), "number": len(index.ids)}
            write_text(file, json.dumps(made, indent=1))
        try:
            manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
        except ValueError as error:
            raise self._damaged(file, error) from error
        have, want = manifest.belongs_to, self.belongs_to
        for name in sorted(have.keys() | want.keys()):
            if have.get(name) != want.get(name):
                raise InputError(
                    f"the reference log-probs in {self.folder} were made with another {name} ({have.get(name)!s:.60} "
                    f"there, {want.get(name)!s:.60} here); delete the folder or choose another reference.cache_dir"
                )
        return manifest

    def _read(self, index: Index, parts: int) -> Float[np.ndarray, " tokens"]:
        """Look every example up by its id; refuse one that is missing or has other tokens."""
        kept: dict[str, tuple[bytes, np.ndarray]] = {}
        for part in range(parts):
            file = self.folder / f"part-{part:05d}.npz"
            if not file.exists():
                raise self._other_data(f"{file.name} is missing: the build of other data was interrupted there")
            try:
                with file.open("rb") as opened, np.load(opened) as arrays:
                    spans = zip(arrays["offsets"][:-1], arrays["offsets"][1:], strict=True)
                    rows = zip(arrays["ids"], arrays["digests"], spans, strict=True)
                    values = arrays["logprob"]
                    kept |= {str(name): (bytes(own), values[start:end]) for name, own, (start, end) in rows}
            except Exception as error:  # a damaged file can make NumPy and zipfile raise almost anything
                raise self._damaged(file, error) from error
        out = np.zeros(len(index.tokens), np.float32)
        missing = [name for name in index.ids if name not in kept]
        if missing:
            raise self._other_data(f"{len(missing)} of {len(index.ids)} examples are not in it, such as {missing[0]!r}")
        for example, name in enumerate(index.ids):
            digest, values = kept[name]
            if digest != _token_digest(index, example):
                raise self._other_data(f"example {name!r} has other tokens now")
            out[_span(index, example)] = values
        return out

    def _damaged(self, file: pathlib.Path, error: Exception) -> InputError:
        return InputError(f"{file} is damaged ({error!r:.80}); delete the folder {self.folder}: it is made again")

    def _other_data(self, what: str) -> InputError:
        return InputError(
            f"the reference log-probs in {self.folder} were made with other data: {what}; delete the folder or choose "
            "another reference.cache_dir"
        )


def _one_part(
    index: Index, examples: np.ndarray, score: Scorer, rows: int, length: int, pad_id: int
) -> dict[str, np.ndarray]:
    """Log-probs of some examples as the arrays of one file."""
    first, last = _span(index, int(examples[0])).start, _span(index, int(examples[-1])).stop
    # Each token carries its own place through packing, to put its log-prob back.
    places = index._replace(per_sequence={}, per_token={"place": np.arange(len(index.tokens), dtype=np.int64)})
    packed = pack(
        index.lengths_of(examples), row_length=length, max_segments=SEGMENTS, key=(0,), first=int(examples[0])
    )
    out = np.zeros(last - first, np.float32)
    for start in range(0, packed.number, rows):
        wanted = np.arange(start, start + rows)
        batch = assemble(places, packed, np.where(wanted < packed.number, wanted, -1), length, SEGMENTS, pad_id)
        logprob = score(batch._replace(extras={}))
        live = batch.segments > 0
        out[batch.extras["place"][live] - first] = logprob[live]
    offsets = index.offsets[examples[0] * index.sides : (examples[-1] + 1) * index.sides + 1 : index.sides] - first
    digests = np.array([list(_token_digest(index, example)) for example in examples.tolist()], np.uint8)
    names = np.array([index.ids[example] for example in examples.tolist()])
    return {"ids": names, "digests": digests, "offsets": offsets, "logprob": out}


def _span(index: Index, example: int) -> slice:
    """The tokens of an example, both sides of a pair."""
    return slice(index.offsets[example * index.sides], index.offsets[(example + 1) * index.sides])


def _token_digest(index: Index, example: int) -> bytes:
    """16 bytes from the tokens of an example and the lengths of its sides."""
    made = hashlib.blake2b(index.tokens[_span(index, example)].tobytes(), digest_size=16)
    made.update(index.lengths_of(np.array([example]))[0].astype(np.int64).tobytes())
    return made.digest()


def _digest(index: Index) -> str:
    """Digest of all examples, in their order."""
    made = hashlib.blake2b(digest_size=16)
    for example, name in enumerate(index.ids):
        made.update(name.encode() + b"\0" + _token_digest(index, example))
    return made.hexdigest()
