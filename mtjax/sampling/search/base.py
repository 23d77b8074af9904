"""The contract of a search."""

from collections.abc import Sequence
from typing import Protocol

from mtjax.registry import Registry
from mtjax.sampling.sampler import Batches, Numbers, Prompt, Sampler, Stop

SEARCHES = Registry("search")  # Every search by name.


class Search(Protocol):
    """A frozen dataclass; its fields are its own settings."""

    def __call__(
        self, sampler: Sampler, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None
    ) -> Batches:
        """Samples of the prompts in batches, with the arguments and the promises of `Sampler.draw`.

        A search may call `sampler.draw` several times, with prompts of its own. Equal arguments give equal samples
        with a local model.
        """
        ...
