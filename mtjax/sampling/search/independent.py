"""Independent samples: the default search."""

import dataclasses
from collections.abc import Callable, Generator, Sequence
from typing import Any

from mtjax.sampling.sampler import ProblemSamples, Prompt, Sampler
from mtjax.sampling.search.base import SEARCHES


@SEARCHES.register("independent")
@dataclasses.dataclass(frozen=True)
class Independent:
    """All samples, each drawn on its own."""

    def __call__(
        self,
        sampler: Sampler,
        prompts: Sequence[Prompt],
        seed: int,
        stopped: Callable[[], Any],
        numbers: Sequence[int] | None = None,
    ) -> Generator[list[ProblemSamples], None, None]:
        """What the sampler draws."""
        return sampler.draw(prompts, seed, stopped, numbers)
