"""How large the checks are: small on a CPU, where they only show that the checks themselves work, full on a chip."""

import dataclasses
from typing import Any

from mtjax.model.decoder import DecoderConfig
from mtjax.model.sizes import size


@dataclasses.dataclass(frozen=True)
class Speed:
    """A model whose training step is timed."""

    name: str
    model: DecoderConfig
    rows: tuple[int, ...]  # micro-batches to try, in rows of a device
    length: int  # tokens of a row


@dataclasses.dataclass(frozen=True)
class Scale:
    """Sizes of every check."""

    product: int  # side of the matrices whose product is timed
    copied: int  # bytes of the array that is moved
    length: int  # tokens of a row in the attention check
    attention: tuple[tuple[int, bool, bool], ...]  # head dimension, with a window, with a soft cap
    steps: int  # of the run that is resumed
    waited: float  # largest share of its time that it may wait for data
    speed: tuple[Speed, ...]
    remats: tuple[str, ...]
    slots: tuple[int, ...]  # answers drawn side by side
    new_tokens: int


def slice_of(name: str, layers: int, **more: Any) -> DecoderConfig:
    """The first layers of a published model, in bfloat16."""
    return dataclasses.replace(size(name), layers=layers, dtype="bfloat16", window_layers=None, **more)


def small() -> Scale:
    """For a CPU: two minutes on two cores."""
    tiny = DecoderConfig(vocab_size=512, width=64, layers=2, heads=4, kv_heads=2, head_dim=16, mlp_width=128)
    cases = ((32, False, False), (32, True, True))
    return Scale(512, 2**24, 256, cases, 4, 0.5, (Speed("tiny", tiny, (4,), 128),), ("none",), (4,), 8)


def full() -> Scale:
    """For an accelerator."""
    models = (
        Speed("SmolLM2-135M", slice_of("smollm2-135m", 30), (32, 16, 8), 1024),
        Speed("Llama-3.2-1B", slice_of("llama-3.2-1b", 16), (8, 4, 2, 1), 2048),
        Speed("4 layers of Llama-3.1-8B", slice_of("llama-3.1-8b", 4), (4, 2, 1), 4096),
    )
    plain = ((128, False, False), (64, False, False), (256, False, False))
    cases = (*plain[:2], (128, True, False), (128, False, True), (128, True, True), plain[2])
    return Scale(8192, 2**30, 1024, cases, 20, 0.2, models, ("none", "dots", "full"), (8, 64, 256), 128)
