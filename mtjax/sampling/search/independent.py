"""Independent samples: the default search."""

import dataclasses
from collections.abc import Sequence

from mtjax.sampling.sampler import Batches, Numbers, Prompt, Sampler, Stop
from mtjax.sampling.search.base import SEARCHES


@SEARCHES.register("independent")
@dataclasses.dataclass(frozen=True)
class Independent:
    """All samples, each drawn on its own."""

    def __call__(
        self, sampler: Sampler, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None
    ) -> Batches:
        """What the sampler draws."""
        return sampler.draw(prompts, seed, stopped, numbers)
