"""The settings of `python -m mtjax.inject`."""

import dataclasses
from typing import Literal

from mtjax.data.problem import OnError
from mtjax.data.sources import AnySource
from mtjax.errors import InputError
from mtjax.io.validation import PositiveInt
from mtjax.mistakes.error_types import Shares
from mtjax.mistakes.injection import Rules


@dataclasses.dataclass(frozen=True, kw_only=True)
class InjectConfig:
    """What to inject errors into, and how."""

    source: AnySource  # Where the right solutions come from.
    output: str = "runs/inject"  # Folder for mistakes.jsonl and manifest.json.
    format: Literal["mistakes", "trl"] = "mistakes"
    """With trl, also write preference pairs (prompt, chosen, rejected) to trl.jsonl."""
    editor: Literal["rules", "self_edit"] = "rules"
    """Who edits: seeded rules, or a model that rewrites its own steps (RISE)."""
    seed: int = 0  # Of everything that is drawn.
    per_problem: PositiveInt = 1
    """Wrong steps to keep of each problem, each worded otherwise; fewer where no more are found."""
    shares: Shares = Shares()  # Rules: odds of the types of error.
    proposals: PositiveInt = 6
    """Rules: edits to draw at a time, of which the one that evens out the surface goes first; 1 does not even out."""
    carry_forward: bool = False
    """Rules: also keep the pair of whole solutions, with the error carried through the later steps."""
    keep_unproved: bool = False  # Keep wrong steps that no checker can judge.
    alpha: PositiveInt | None = None
    """Keep only edits of a Levenshtein distance below this; None keeps all. RISE's own value is not published."""
    limit: PositiveInt | None = None  # Use the first so many problems; None takes all.
    on_error: OnError = "raise"  # A record that cannot be read: raise, or skip and count it.
    leak: bool = True  # Measure how well the surface tells wrong from right, and print it.
    overwrite: bool = False  # Delete what another injection left in the folder.
    model: str | None = None  # Self-editing: a run folder, a Hugging Face folder, a hub id or `smollm2`.
    steps_per_problem: PositiveInt | None = None
    """Self-editing: ask about so many steps of a problem, drawn by the seed; None asks about all."""
    max_new_tokens: PositiveInt = 256  # Self-editing: longest edit, in tokens.
    rows: PositiveInt = 16  # Self-editing: edits that are decoded side by side.
    chunk: PositiveInt = 32  # Self-editing: problems that are asked about at a time, and saved.
    tokenizer: str | None = None  # Self-editing: tokenizer to use; None takes the model's own.
    dtype: Literal["float32", "bfloat16"] | None = None
    """Self-editing: type to compute in; None is float32, or what the run computed in."""
    step: int | None = None  # Self-editing: which checkpoint of a run folder; None takes the newest.

    def __post_init__(self) -> None:
        if self.editor == "self_edit" and self.model is None:
            raise InputError("editor=self_edit needs a model: give --model=FOLDER, or use --editor=rules")
        if self.editor == "rules" and self.model is not None:
            raise InputError(f"model={self.model!r} is given, but editor=rules asks none; add --editor=self_edit")
        if self.editor == "self_edit" and self.carry_forward:
            raise InputError("carry_forward is a matter of editor=rules; leave it out with --editor=self_edit")

    @property
    def rules(self) -> Rules:
        """What the functions of `mtjax.mistakes.injection` take."""
        names = ("seed", "per_problem", "shares", "proposals", "alpha", "keep_unproved", "carry_forward")
        return Rules(**{name: getattr(self, name) for name in names})

    @property
    def decides(self) -> dict[str, object]:
        """The settings that the mistakes depend on, for the manifest; the source is told by its content."""
        rules = ("shares", "proposals", "carry_forward")
        model = ("max_new_tokens", "rows", "chunk", "steps_per_problem", "dtype")
        both = ("editor", "seed", "per_problem", "keep_unproved", "alpha", "limit", "on_error")
        names = (*both, *(rules if self.editor == "rules" else model))
        values = {name: getattr(self, name) for name in names}
        return {n: dataclasses.asdict(v) if dataclasses.is_dataclass(v) else v for n, v in values.items()}  # type: ignore[arg-type]
