"""Settings of sampling."""

import dataclasses

from mtjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How to draw an answer."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token every time."""
    top_k: int = 0
    """Draw among the k most likely tokens only; 0 draws among all."""
    top_p: float = 1.0
    """Draw among the fewest tokens whose probability reaches p, after temperature and top_k; 1 draws among all."""
    max_new_tokens: int = 256
    """Longest answer, in tokens, its end token included."""
    samples: int = 1
    """Answers per prompt."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer; the answer is cut in front of the first."""

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise InputError(f"temperature={self.temperature}: expected 0 (greedy) or more")
        if self.top_k < 0:
            raise InputError(f"top_k={self.top_k}: expected 0 (all tokens) or more")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p={self.top_p}: expected more than 0, up to 1 (all tokens)")
        if self.max_new_tokens < 1 or self.samples < 1:
            raise InputError(f"max_new_tokens={self.max_new_tokens}, samples={self.samples}: expected at least 1 each")
        if "" in self.stop:
            raise InputError("stop holds an empty text, which would end every answer at once; leave it out")
