"""The rotary settings in `config.json`.

transformers 4.x has `rope_theta` and `rope_scaling`, 5.x one dict `rope_parameters`. Where both are given,
`rope_scaling` is used and `rope_parameters` is not, as in transformers 5, and a note says so.
"""

from collections.abc import Mapping
from typing import Any

from mtjax.errors import InputError, note
from mtjax.model.families.keys import number, real
from mtjax.model.rope import RopeScaling

KEYS = ("rope_scaling", "rope_parameters")  # the first that is given is used
ORIGINAL = "original_max_position_embeddings"
# Keys of each rotary type beside `rope_type`: fields of `RopeScaling`, but for `ORIGINAL`, its `original_length`.
ROPE_KEYS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", ORIGINAL, "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor", ORIGINAL, "beta_fast", "beta_slow", "attention_factor"),
}
ALWAYS = ("rope_type", "type", "rope_theta", "finetuned")  # keys that every rotary type may have
# Options that these families do not use, with the values that change nothing.
UNUSED = {
    "mscale": (None, 0, 0.0),
    "mscale_all_dim": (None, 0, 0.0),
    "truncate": (None, True),
    "partial_rotary_factor": (None, 1, 1.0),
}


def rotary(config: Mapping[str, Any], max_length: int) -> tuple[float, RopeScaling | None]:
    """Base and scaling of the rotary embedding. Raises InputError for unknown types and options, wherever they are."""
    for key in UNUSED:
        _check_unused("config.json", key, config.get(key))
    found = {key: _read(config, key, max_length) for key in KEYS if config.get(key)}
    if not found:
        return real(config, "rope_theta", 10_000.0), None
    used, (theta, scaling) = next(iter(found.items()))
    if len({*found.values()}) > 1:
        note(
            f"config.json: rope_scaling is used ({_told(theta, scaling)}), not rope_parameters "
            f"({_told(*found['rope_parameters'])}), as in transformers 5; delete the one that is not meant"
        )
    elif config.get("rope_theta") is not None and real(config, "rope_theta", 1.0) != theta:
        note(f"config.json: rope_theta={theta} in {used} is used, not rope_theta={config['rope_theta']} beside it")
    return theta, scaling


def rotary_to_json(theta: float, scaling: RopeScaling | None) -> dict[str, Any]:
    """The keys of `config.json` from which `rotary` reads them, in the 4.x form, which 5.x reads too."""
    keys = ROPE_KEYS[scaling.kind] if scaling else ()
    rope = {key: getattr(scaling, "original_length" if key == ORIGINAL else key) for key in keys}
    given = {key: value for key, value in rope.items() if value is not None}
    return {"rope_theta": theta, "rope_scaling": scaling and {"rope_type": scaling.kind} | given}


def _told(theta: float, scaling: RopeScaling | None) -> str:
    return f"base {theta}" + (f", {scaling.kind} by {scaling.factor}" if scaling else "")


def _check_unused(where: str, key: str, value: Any) -> None:
    if value not in UNUSED[key]:
        raise InputError(
            f"{where}: rotary option {key!r} is {value!r:.40}, which is not supported: these families do not use it; "
            "take another checkpoint, or delete the option if the weights were trained without it"
        )


def _read(config: Mapping[str, Any], key: str, max_length: int) -> tuple[float, RopeScaling | None]:
    """Base and scaling by one of the two keys."""
    rope, where = config[key], f"config.json: {key}"
    if not isinstance(rope, Mapping) or any(isinstance(value, Mapping) for value in rope.values()):
        raise InputError(f"{where} is {rope!r:.200}; expected a flat dict with rope_type and factor")
    named = {name: rope[name] for name in ("rope_type", "type") if rope.get(name)}
    for kind in named.values():
        if kind not in ROPE_KEYS:
            raise InputError(
                f"{where}: rope type {kind!r:.40} is not supported; expected {', '.join(ROPE_KEYS)}: its "
                "logits would be wrong, so take a checkpoint with one of these"
            )
    kind = next(iter(named.values()), "default")
    options = {name: value for name, value in rope.items() if name not in (*ALWAYS, *UNUSED)}
    if unknown := sorted(set(options) - {name for names in ROPE_KEYS.values() for name in names}):
        raise InputError(f"{where}: rotary option {unknown[0]!r} is not known; expected of {kind}: {ROPE_KEYS[kind]}")
    for option in UNUSED:
        _check_unused(where, option, rope.get(option))
    if idle := sorted(name for name in options if name not in ROPE_KEYS[kind] and options[name] is not None):
        note(f"{where}: rope type {kind!r} does not use {', '.join(idle)}, in transformers neither")
    if len(set(named.values())) > 1:
        note(f"{where}: rope_type {kind!r} is used, not type {named['type']!r} (as in transformers)")
    theta = real(rope, "rope_theta", real(config, "rope_theta", 10_000.0))
    if kind == "default":
        return theta, None
    if ORIGINAL in ROPE_KEYS[kind] and config.get(ORIGINAL) is not None:  # as in transformers 5, it goes first
        if rope.get(ORIGINAL) not in (None, config[ORIGINAL]):
            note(f"config.json: {ORIGINAL}={config[ORIGINAL]} is used, not {rope[ORIGINAL]} in {key}")
        rope = {**rope, ORIGINAL: config[ORIGINAL]}
    original = number(rope, ORIGINAL, max_length)
    needed = ROPE_KEYS["llama3"] if kind == "llama3" else ("factor",)
    needed = () if kind == "yarn" and rope.get(ORIGINAL) else needed
    missing = [name for name in needed if rope.get(name) is None]
    if missing:
        raise InputError(f"{where}: rope_type {kind!r} needs {', '.join(missing)}; got {dict(rope)!r:.200}")
    # What the file leaves out keeps the default of RopeScaling, which is that of the published checkpoints.
    others = [name for name in ROPE_KEYS[kind] if name not in ("factor", ORIGINAL) and rope.get(name) is not None]
    return theta, RopeScaling(
        kind=kind,  # type: ignore[arg-type]
        factor=real(rope, "factor", max_length / original),
        original_length=original,
        **{name: real(rope, name, 1.0) for name in others},
    )
