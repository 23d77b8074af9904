"""Log-probs of a reference, computed once, kept in a folder and looked up by example."""

import contextlib
import hashlib
import json
import pathlib
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from mtjax.data.batches import assemble
from mtjax.data.index import Index
from mtjax.data.packing import pack
from mtjax.distributed import hosts
from mtjax.distributed.placement import own_rows, place_rows, read_whole
from mtjax.errors import InputError
from mtjax.io.files import atomic_file, write_text
from mtjax.model.policy import make_policy
from mtjax.types import Batch, LanguageModel, Params

Scorer = Callable[[Batch], np.ndarray]
"""Log-prob of every token of a batch, `[*B, T]` float32."""

PART = 512
"""Examples per file of a cache: what a kill can cost."""

SEGMENTS = 64
"""Most examples in a row while the log-probs are computed; the numbers do not depend on it."""


def make_scorer(model: LanguageModel, params: Params, mesh: Mesh | None, chunk: int = 128) -> Scorer:
    """The compiled function that `Cache.logprobs` computes with; every host gives the whole batch and gets all."""
    score = jax.jit(lambda params, batch: make_policy(model, params, chunk=chunk).scores(batch).logprob)

    def run(batch: Batch) -> np.ndarray:
        rows = own_rows(mesh, len(batch.tokens))
        placed = place_rows(jax.tree.map(lambda x: x[rows], batch), mesh)
        with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
            logprob: np.ndarray = read_whole(score(params, placed))
        return logprob

    return run


class Cache(NamedTuple):
    """Log-probs of a reference, in a folder.

    `manifest.json` says what they belong to; `part-00000.npz` and so on hold `PART` examples each. A part appears whole
    or not at all, and each is computed from its own examples alone: a killed build goes on with the same files.

    Attributes:
        folder: where.
        belongs_to: what the log-probs depend on, by name: weights, precision, tokenizer, task, and each setting of the
            task, such as task.template.
    """

    folder: pathlib.Path
    belongs_to: dict[str, str]

    def logprobs(
        self, index: Index, score: Scorer, *, rows: int, length: int, pad_id: int
    ) -> Float[np.ndarray, " tokens"]:
        """Log-prob of every token of the index under the reference; computed and kept where it is not there yet.

        Args:
            score: the reference's log-probs of a batch; see `make_scorer`.
            rows, length: shape of the batches it is computed in; `rows` must suit the mesh.

        Raises:
            InputError: the folder holds log-probs of another model, tokenizer, template, precision or other data;
                says which.
        """
        self._open(index)
        parts = -(-len(index.ids) // PART)
        builds = self._manifest()["examples"] == _digest(index)
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
        return self._read(index)

    def _manifest(self) -> dict[str, Any]:
        file = self.folder / "manifest.json"
        try:
            manifest: dict[str, Any] = json.loads(file.read_text())
            belongs, number, _ = manifest["belongs_to"], manifest["number"], manifest["examples"]
            if not isinstance(belongs, dict) or not isinstance(number, int):
                raise ValueError("not as it was written")
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(file, error) from error
        return manifest

    def _open(self, index: Index) -> None:
        """Make the folder, or refuse one that belongs to something else."""
        there = next(place for place in (self.folder, *self.folder.absolute().parents) if place.exists())
        if not there.is_dir():
            raise InputError(f"reference.cache_dir: '{there}' is a file; expected a folder, or one that can be made")
        if (self.folder / "manifest.json").exists():
            have = self._manifest()["belongs_to"]
            for name in sorted(have.keys() | self.belongs_to.keys()):
                if have.get(name) != self.belongs_to.get(name):
                    raise InputError(
                        f"the reference log-probs in {self.folder} were made with another {name} "
                        f"({have.get(name)!s:.60} there, {self.belongs_to.get(name)!s:.60} here); delete the folder or "
                        "choose another reference.cache_dir"
                    )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = {"belongs_to": self.belongs_to, "examples": _digest(index), "number": len(index.ids)}
        write_text(self.folder / "manifest.json", json.dumps(manifest, indent=1))

    def _read(self, index: Index) -> Float[np.ndarray, " tokens"]:
        """Look every example up by its id; refuse one that is missing or has other tokens."""
        number = self._manifest()["number"]
        kept: dict[str, tuple[bytes, np.ndarray]] = {}
        for part in range(-(-number // PART)):
            file = self.folder / f"part-{part:05d}.npz"
            if not file.exists():
                raise self._other_data(f"{file.name} is missing: the build of other data was interrupted there")
            try:
                with file.open("rb") as opened, np.load(opened) as arrays:
                    spans = zip(arrays["offsets"][:-1], arrays["offsets"][1:], strict=True)
                    rows = zip(arrays["ids"], arrays["digests"], spans, strict=True)
                    values = arrays["logprob"]
                    kept |= {str(name): (bytes(own), values[start:end]) for name, own, (start, end) in rows}
            except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise self._damaged(file, error) from error
        out = np.zeros(len(index.tokens), np.float32)
        missing = [name for name in index.ids if name not in kept]
        if missing:
            raise self._other_data(f"{len(missing)} of {len(index.ids)} examples are not in it, such as {missing[0]!r}")
        for example, name in enumerate(index.ids):
            start, end = index.offsets[example * index.sides], index.offsets[(example + 1) * index.sides]
            digest, values = kept[name]
            if digest != _token_digest(index, example):
                raise self._other_data(f"example {name!r} has other tokens now")
            out[start:end] = values
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
    first, last = index.offsets[examples[0] * index.sides], index.offsets[(examples[-1] + 1) * index.sides]
    # Each token carries its own place through packing, and so finds the way back.
    places = index._replace(per_sequence={}, per_token={"place": np.arange(len(index.tokens), dtype=np.int64)})
    packed = pack(index.lengths[examples], row_length=length, max_segments=SEGMENTS, key=(0,), first=int(examples[0]))
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


def _token_digest(index: Index, example: int) -> bytes:
    """16 bytes of the tokens of an example and of where its sides part."""
    start, end = index.offsets[example * index.sides], index.offsets[(example + 1) * index.sides]
    made = hashlib.blake2b(index.tokens[start:end].tobytes(), digest_size=16)
    made.update(index.lengths[example].astype(np.int64).tobytes())
    return made.digest()


def _digest(index: Index) -> str:
    """Of all examples, in their order."""
    made = hashlib.blake2b(digest_size=16)
    for example, name in enumerate(index.ids):
        made.update(name.encode() + b"\0" + _token_digest(index, example))
    return made.hexdigest()
