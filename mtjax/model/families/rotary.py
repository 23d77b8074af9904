"""The rotary settings in `config.json`.

transformers 4.x has `rope_theta` and `rope_scaling`, 5.x one dict `rope_parameters`. Where both are given,
`rope_scaling` is used and `rope_parameters` is not, as in transformers 5, and a note says so.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mtjax.errors import InputError, note
from mtjax.model.decoder import DecoderConfig
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
    "longrope": ("short_factor", "long_factor", "factor", ORIGINAL, "attention_factor"),
}
LISTS = ("short_factor", "long_factor")  # their values are lists of numbers
ALWAYS = ("rope_type", "type", "rope_theta", "finetuned")  # keys that every rotary type may have
# Options that these families do not use, with the values that change nothing.
UNUSED = {
    "mscale": (None, 0, 0.0),
    "mscale_all_dim": (None, 0, 0.0),
    "truncate": (None, True),
    "partial_rotary_factor": (None, 1, 1.0),
}
PARTIAL = "partial_rotary_factor"
FULL, SLIDING = "full_attention", "sliding_attention"  # the kinds of layers in `rope_parameters` of 5.x


class Rotary(NamedTuple):
    """The rotary settings of a family."""

    theta: float = 10_000.0  # base where `config.json` gives none
    kinds: tuple[str, ...] = ("default", "linear", "dynamic", "llama3", "yarn")
    local_key: str | None = None  # key of the base of layers that slide, which are not stretched; None: as in all
    local_theta: float = 10_000.0  # where `config.json` does not have that key
    partial: bool = False  # whether it has `partial_rotary_factor`
    original: int | None = None  # `ORIGINAL` where `config.json` has none; None: the context length


PLAIN = Rotary()


def rotary(config: Mapping[str, Any], family: Rotary, max_length: int, head_dim: int) -> dict[str, Any]:
    """The rotary settings of a `DecoderConfig`. Raises InputError for unknown types and options, wherever they are."""
    for key in UNUSED:
        _check_unused("config.json", key, config.get(key), family)
    out: dict[str, Any] = {}
    if family.partial:
        given = next((config[key] for key in KEYS if config.get(key)), None)
        share = (given or {}).get(PARTIAL) if isinstance(given, Mapping) else None
        turned = int(head_dim * real({PARTIAL: share} if share is not None else config, PARTIAL, 1.0))
        out["rotary_dim"] = None if turned == head_dim else turned
    flat, local = _by_kind_of_layer(config, family) if family.local_key else (config, None)
    found = {key: _read(flat, key, max_length, family) for key in KEYS if flat.get(key)}
    if not found:
        found = {"": (real(flat, "rope_theta", family.theta), None)}
    used, (theta, scaling) = next(iter(found.items()))
    if len({*found.values()}) > 1:
        note(
            f"config.json: rope_scaling is used ({_told(theta, scaling)}), not rope_parameters "
            f"({_told(*found['rope_parameters'])}), as in transformers 5; delete the one that is not meant"
        )
    elif used and flat.get("rope_theta") is not None and real(flat, "rope_theta", 1.0) != theta:
        note(f"config.json: rope_theta={theta} in {used} is used, not rope_theta={config['rope_theta']} beside it")
    if local is not None and (local, None) != (theta, scaling):
        out["local_theta"] = local
    return out | {"rope_theta": theta, "rope_scaling": scaling}


def _by_kind_of_layer(config: Mapping[str, Any], family: Rotary) -> tuple[Mapping[str, Any], float]:
    """The settings of the full layers as if they were all, and the base of the layers that slide."""
    by_kind, own = config.get("rope_parameters") or {}, real(config, family.local_key or "", family.local_theta)
    if not by_kind:
        return config, own
    fits = isinstance(by_kind, Mapping) and all(each is None or isinstance(each, Mapping) for each in by_kind.values())
    if not fits or not set(by_kind) <= {FULL, SLIDING}:
        raise InputError(
            f"config.json: rope_parameters is {by_kind!r:.200}; expected one dict of rotary settings for each of "
            f"'{FULL}' and '{SLIDING}', because these layers have their own here"
        )
    full, sliding = ({**(by_kind.get(kind) or {})} for kind in (FULL, SLIDING))
    kind = sliding.get("rope_type") or sliding.get("type") or "default"
    if kind != "default" or not set(sliding) <= {*ALWAYS, PARTIAL}:
        raise InputError(
            f"config.json: rope_parameters['{SLIDING}'] is {sliding!r:.200}; expected rope_type 'default' and "
            "rope_theta: layers that slide are not stretched here; take another checkpoint"
        )
    full = {"rope_theta": real(config, "rope_theta", family.theta)} | full | (config.get("rope_scaling") or {})
    flat = {key: value for key, value in config.items() if key not in (*KEYS, "rope_theta")}
    return flat | {"rope_parameters": full}, real(sliding, "rope_theta", own)


def rotary_to_json(config: DecoderConfig, family: Rotary) -> dict[str, Any]:
    """The keys of `config.json` from which `rotary` reads them, in the 4.x form, which 5.x reads too."""
    scaling, theta = config.rope_scaling, config.rope_theta
    keys = ROPE_KEYS[scaling.kind] if scaling else ()
    rope = {key: getattr(scaling, "original_length" if key == ORIGINAL else key) for key in keys}
    given = {key: list(value) if key in LISTS else value for key, value in rope.items() if value is not None}
    out: dict[str, Any] = {"rope_theta": theta, "rope_scaling": scaling and {"rope_type": scaling.kind} | given}
    if scaling and scaling.kind == "longrope":  # transformers 4 wants these three keys and no other
        out[ORIGINAL] = given.pop(ORIGINAL)
        if given["factor"] == max(config.max_length / out[ORIGINAL], 1.0):
            del given["factor"]
        out["rope_scaling"] = {"type": scaling.kind} | given
    if family.partial:
        out[PARTIAL] = (config.rotary_dim or config.head_dim) / config.head_dim
    if family.local_key:
        local = theta if config.local_theta is None else config.local_theta
        full = (out["rope_scaling"] or {"rope_type": "default"}) | {"rope_theta": theta}
        out |= {} if family.local_key == "rope_theta" else {family.local_key: local}
        out["rope_parameters"] = {FULL: full, SLIDING: {"rope_type": "default", "rope_theta": local}}
    return out


def _told(theta: float, scaling: RopeScaling | None) -> str:
    return f"base {theta}" + (f", {scaling.kind} by {scaling.factor}" if scaling else "")


def _check_unused(where: str, key: str, value: Any, family: Rotary) -> None:
    if value not in UNUSED[key] and not (family.partial and key == PARTIAL):
        raise InputError(
            f"{where}: rotary option {key!r} is {value!r:.40}, which is not supported: these families do not use it; "
            "take another checkpoint, or delete the option if the weights were trained without it"
        )


def _read(config: Mapping[str, Any], key: str, max_length: int, family: Rotary) -> tuple[float, RopeScaling | None]:
    """Base and scaling by one of the two keys."""
    rope, where = config[key], f"config.json: {key}"
    if not isinstance(rope, Mapping) or any(isinstance(value, Mapping) for value in rope.values()):
        raise InputError(f"{where} is {rope!r:.200}; expected a flat dict with rope_type and factor")
    named = {name: rope[name] for name in ("rope_type", "type") if rope.get(name)}
    for kind in named.values():
        if kind not in family.kinds and (kind != "su" or "longrope" not in family.kinds):
            raise InputError(
                f"{where}: rope type {kind!r:.40} is not supported; expected {', '.join(family.kinds)}: its "
                "logits would be wrong, so take a checkpoint with one of these"
            )
    kind = next(iter(named.values()), "default").replace("su", "longrope")  # its first name
    options = {name: value for name, value in rope.items() if name not in (*ALWAYS, *UNUSED)}
    if unknown := sorted(set(options) - {name for each in family.kinds for name in ROPE_KEYS[each]}):
        raise InputError(f"{where}: rotary option {unknown[0]!r} is not known; expected of {kind}: {ROPE_KEYS[kind]}")
    for option in UNUSED:
        _check_unused(where, option, rope.get(option), family)
    if idle := sorted(name for name in options if name not in ROPE_KEYS[kind] and options[name] is not None):
        note(f"{where}: rope type {kind!r} does not use {', '.join(idle)}, in transformers neither")
    if len(set(named.values())) > 1:
        note(f"{where}: rope_type {kind!r} is used, not type {named['type']!r} (as in transformers)")
    theta = real(rope, "rope_theta", real(config, "rope_theta", family.theta))
    if kind == "default":
        return theta, None
    if ORIGINAL in ROPE_KEYS[kind] and config.get(ORIGINAL) is not None:  # as in transformers 5, it goes first
        if rope.get(ORIGINAL) not in (None, config[ORIGINAL]):
            note(f"config.json: {ORIGINAL}={config[ORIGINAL]} is used, not {rope[ORIGINAL]} in {key}")
        rope = {**rope, ORIGINAL: config[ORIGINAL]}
    original = number(rope, ORIGINAL, family.original or max_length)
    needed = {"llama3": ROPE_KEYS["llama3"], "longrope": LISTS}.get(kind, ("factor",))
    needed = () if kind == "yarn" and rope.get(ORIGINAL) else needed
    missing = [name for name in needed if rope.get(name) is None]
    if missing:
        raise InputError(f"{where}: rope_type {kind!r} needs {', '.join(missing)}; got {dict(rope)!r:.200}")
    # What the file leaves out keeps the default of RopeScaling, which is that of the published checkpoints.
    others = [name for name in ROPE_KEYS[kind] if name not in ("factor", ORIGINAL) and rope.get(name) is not None]
    values: dict[str, Any] = {name: _numbers(rope, name) if name in LISTS else real(rope, name, 1.0) for name in others}
    usual = max_length / original if kind != "longrope" else max(max_length / original, 1.0)
    return theta, RopeScaling(
        kind=kind,  # type: ignore[arg-type]
        factor=real(rope, "factor", usual),
        original_length=original,
        **values,
    )


def _numbers(rope: Mapping[str, Any], key: str) -> Any:
    """A list of positive numbers, as a tuple."""
    value = rope[key]
    if not isinstance(value, list | tuple):
        raise InputError(f"config.json: {key} is {value!r:.80}; expected a list of positive numbers")
    return tuple(real({key: each}, key, 1.0) for each in value)
