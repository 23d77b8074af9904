"""Ask a model: `python -m mtjax.generate MODEL "prompt" ...`.

A training run is asked as it was trained: with the template, prefix, stop texts and end tokens of its task.
"""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from mtjax.data.special_tokens import unshield
from mtjax.distributed import hosts
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import ExitCode, InputError, entry_point
from mtjax.io.command_line import enable_compilation_cache, parse
from mtjax.io.hashing import check_seed
from mtjax.io.progress import take_switches
from mtjax.sampling.config import EmbeddedSampling, SamplingConfig
from mtjax.sampling.sampler import Contrasted
from mtjax.validation import PositiveInt

FEW, MANY = 4, 16  # answers drawn side by side by default, where there is more than one


@dataclasses.dataclass(frozen=True)
class Generate:
    """Answer prompts with a model.

    A training run reads each prompt as in its training, in the template of its task and, after mistake tuning, with
    the prefix of right answers. Another model reads it as a turn of its chat template, or as it stands without one.
    The config.py of a run folder is read and not run; MTJAX_TRUST_CODE=1 runs it (docs/SECURITY.md).
    """

    model: Annotated[str, tyro.conf.Positional]
    """`smollm2`, a Hugging Face folder, a hub id (owner/name), or the run folder of a training run."""
    prompts: Annotated[tuple[str, ...], tyro.conf.Positional]
    """One or more prompts; "-" reads one prompt per line from standard input."""
    sampling: EmbeddedSampling = SamplingConfig(temperature=0.0, max_new_tokens=64)  # How answers are drawn.
    raw: bool = False  # Continue the prompt as it stands, without template and prefix.
    prefix: str | None = None
    """Prefix of a mistake-tuned run: "right" or "wrong"; default the run's own `decode_prefix`."""
    tokenizer: str | None = None  # Tokenizer to use; default the model's own.
    dtype: Literal["float32", "bfloat16"] = "float32"  # Type to compute in.
    mesh: MeshSpec | None = None  # Over which devices; None is the first one, or on many hosts rows over all.
    lm_infinite: PositiveInt | None = None
    """Go on beyond the model's length: see so many nearest tokens, and the first ten (docs/models.md, LM-Infinite)."""
    seed: int = 0  # Random seed for sampling.
    rows: int | None = None
    """Answers drawn side by side; they belong to what determines an answer to the bit. None: 1 for one, 4 for up to
    four, 16 for more."""
    step: int | Literal["best"] | None = None
    """Checkpoint of a run folder: its step, or "best" by held-out loss; default the newest."""
    weights: Literal["auto", "raw", "average"] = "auto"
    """Parameters of a run: as trained (raw), or the average that it keeps of them (`optim.average`); auto: raw, but the
    average of a schedule-free optimizer."""
    json: bool = False
    """Print one JSON object per answer: prompt, read (what the model read), text, tokens, logprob, finished; against,
    the second text that a contrastive decoder read."""


def generate(settings: Generate) -> int:
    """Load the model, draw, print; returns the exit code."""
    import json as json_format

    from mtjax.model.language_model import make_language_model
    from mtjax.model.lm_infinite import LmInfinite
    from mtjax.runs.loading import load_any
    from mtjax.sampling.texts import sample_texts

    say = functools.partial(print, file=sys.stderr, flush=True) if hosts.index() == 0 else lambda text: None

    # What: the prompts.
    prompts = settings.prompts
    if prompts == ("-",):
        prompts = tuple(hosts.on_first(lambda: [line.rstrip("\n") for line in sys.stdin if line.strip()]))
    if not prompts:
        raise InputError('no prompt was given; ask something: python -m mtjax.generate smollm2 "What is 2+3?"')
    rows = settings.rows
    if rows is None:
        answers = len(prompts) * settings.sampling.samples
        rows = 1 if answers == 1 else FEW if answers <= FEW else MANY
    if rows < 1:
        raise InputError(f"rows={settings.rows}: expected at least 1")
    check_seed(settings.seed)

    # With what: the model and its tokenizer.
    enable_compilation_cache()
    import jax

    many = hosts.count() > 1 or settings.mesh is not None
    mesh = make_mesh(settings.mesh or MeshSpec()) if many and jax.device_count() > 1 else None
    loaded = load_any(
        settings.model, tokenizer=settings.tokenizer, mesh=mesh, dtype=settings.dtype, step=settings.step,
        weights=settings.weights,
    )  # fmt: skip
    decoding, model = loaded.decoding, loaded.model
    if settings.lm_infinite is not None:
        asked = LmInfinite(local=settings.lm_infinite)
        model = make_language_model(dataclasses.replace(model.config, lm_infinite=asked))

    # Draw and print.
    texts = [decoding.asked(prompt, settings.sampling, settings.prefix, raw=settings.raw) for prompt in prompts]
    if decoding.task is not None and not settings.raw:
        others = "".join(
            f"--prefix={name} takes the other prefix, " for name in decoding.other_prefixes(settings.prefix)
        )
        say(f"note: {decoding.reads(settings.prefix)}, as in its training; {others}--raw takes prompts as they stand")
    for warning in (warning for prompt in prompts for warning in decoding.warnings(prompt, raw=settings.raw)):
        say(f"warning: {warning}")
    with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
        drawn = sample_texts(
            model, loaded.params, decoding.tokenizer, texts, decoding.sampling(settings.sampling), settings.seed,
            rows=rows,
        )  # fmt: skip
    special = decoding.tokenizer.special
    for prompt, read, samples in zip(prompts, texts, drawn, strict=True):
        both = read if isinstance(read, Contrasted) else Contrasted(read, "")
        first, against = (unshield(str(text), special) for text in both)
        for number, sample in enumerate(samples):
            if settings.json:
                shown = {"prompt": prompt, "read": first} | ({"against": against} if against else {})
                said = {name: value for name, value in sample._asdict().items() if name != "value"}
                print(json_format.dumps({**shown, **said}))
                continue
            if len(prompts) > 1 and number == 0:
                print(f"> {prompt}")
            print(sample.text if len(samples) == 1 else f"[{number}] {sample.text}")
    return ExitCode.DONE


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    words = take_switches(sys.argv[1:] if argv is None else argv)
    kind = tyro.conf.CascadeSubcommandArgs[Generate]
    with hosts.session():
        return generate(parse(tyro.MISSING_NONPROP, words, "python -m mtjax.generate", kind))


if __name__ == "__main__":
    sys.exit(main())
