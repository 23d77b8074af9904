"""Searches over steps with a local model and its value head: step-level beam search and PUCT tree search."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from mtjax.data.answers import extract_answer
from mtjax.data.encoding import continuation
from mtjax.data.examples import encode_prompt
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.sampling.local import LocalSampler, as_sample
from mtjax.sampling.sampler import Batches, Numbers, ProblemSamples, Prompt, Sample, Sampler, Stop, Unusable
from mtjax.sampling.search.base import SEARCHES
from mtjax.sampling.search.tree import Node, Path, best_path, puct_search, step_beam
from mtjax.sampling.texts import TokenSample
from mtjax.sampling.values import values_of
from mtjax.validation import PositiveInt, check_types

ENDLESS = 1 << 30  # The steps of a path that is too long to go on.


class Steps:
    """One prompt's steps: what the sampler proposes after a path, and what the value head makes of it.

    At most `paths` paths are continued at a time, by `proposals` steps each.
    """

    def __init__(self, sampler: LocalSampler, prompt: Sequence[int], seed: int, settings: Any, paths: int):
        most, room = sampler.model.config.max_length, settings.step_tokens
        # A path may be as long as an answer, and must leave the model room for one more step.
        self.longest = min(sampler.sampling.longest, most - len(prompt)) - room
        if self.longest < 0:
            raise InputError(
                f"search: a prompt of {len(prompt)} tokens, answers of {sampler.sampling.longest} and steps of {room} "
                f"leave no room in the model's {most}; lower search.step_tokens, or raise max_new_tokens"
            )
        self.prompt, self.seed, self.settings, self.sampler = tuple(prompt), seed, settings, sampler
        self.rows = paths * settings.proposals
        sampling = dataclasses.replace(
            sampler.sampling, samples=settings.proposals, max_new_tokens=room, stop=(settings.step_end,)
        )
        self.steps = dataclasses.replace(sampler, sampling=sampling, rows=self.rows, by_token=True)

    def propose(self, paths: Sequence[Path], turn: int) -> list[list[Path]]:
        """Continuations of each path by one step. A path that leaves no room for another has endless steps."""
        prompts = [[*self.prompt, *path.tokens] for path in paths]
        seed = int(digest("steps", self.seed, turn)[:15], 16)
        drawn = {one.number: one for batch in self.steps.draw(prompts, seed, lambda: False) for one in batch}
        ends = self.sampler.tokenizer.end_ids
        found = []
        for number, path in enumerate(paths):
            made = []
            for sample in drawn[number].samples:
                tokens, logprobs = (*path.tokens, *sample.token_ids), (*path.logprobs, *sample.token_logprobs)
                ended = bool(sample.token_ids) and sample.token_ids[-1] in ends
                steps = path.steps + 1 if ended or len(tokens) <= self.longest else ENDLESS
                prior = float(np.exp(np.mean(sample.token_logprobs))) if sample.token_logprobs else 0.0
                made.append(Path(tokens, logprobs, steps, ended, prior))
            found.append(made)
        return found

    def value(self, paths: Sequence[Path]) -> list[float]:
        """The value head at the last token of each path, before its end token: where training has a target."""
        sampler, ends = self.sampler, self.sampler.tokenizer.end_ids
        bare = lambda path: path.tokens[:-1] if path.ended and path.tokens[-1] in ends else path.tokens
        texts = [[*self.prompt, *bare(path)] for path in paths]
        return values_of(sampler.model, sampler.params, texts, rows=self.rows, pad_id=sampler.tokenizer.pad_id)

    def text(self, path: Path) -> str:
        """The text of a path, without its end token."""
        tokenizer = self.sampler.tokenizer
        said = [token for token in path.tokens if token not in tokenizer.end_ids]
        return str(continuation(tokenizer.decode, list(self.prompt), said))

    def valid(self, path: Path) -> bool:
        """Whether a path has an answer."""
        return extract_answer(self.text(path)) is not None

    def sample(self, path: Path) -> Sample:
        """A path as a sample. It was chosen and not drawn: there is no distribution that it was drawn from."""
        drawn = TokenSample(
            self.text(path), path.tokens, float(np.sum(path.logprobs, dtype=np.float64)), 0.0, path.ended,
            path.logprobs, (),
        )  # fmt: skip
        return as_sample(drawn, self.sampler.tokenizer, self.sampler.by_token)


@dataclasses.dataclass(frozen=True)
class _StepSearch:
    """What both searches share."""

    needs_value: ClassVar[bool] = True  # a local model with a value head; other samplers are refused

    proposals: PositiveInt = 5  # Steps that are drawn after each path.
    depth: PositiveInt = 10  # Most steps of a path.
    step_tokens: PositiveInt = 64  # Longest step, in tokens.
    step_end: str = "\n"  # Text that ends a step.

    def __post_init__(self) -> None:
        check_types(self, "search")
        if not self.step_end:
            raise InputError("search.step_end='' would end every step at once; give a text such as a line break")

    def __call__(
        self, sampler: Sampler, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None
    ) -> Batches:
        """The samples of one prompt after the other."""
        if not isinstance(sampler, LocalSampler) or sampler.model.value is None:
            raise InputError(
                "this search needs a local model with a value head: train one with model.value_head:value_head and "
                "objective:alphamath, or choose search:independent"
            )
        for number in range(len(prompts)) if numbers is None else numbers:
            prompt: Any = prompts[number]
            if isinstance(prompt, Unusable):
                yield [ProblemSamples(number, [], prompt.note)]
            else:
                ids = encode_prompt(sampler.tokenizer, prompt) if isinstance(prompt, str) else list(prompt)
                own = int(digest(seed, number)[:15], 16)
                yield [ProblemSamples(number, self.search(sampler, ids, own, number))]
            if stopped():
                return

    def search(self, sampler: LocalSampler, prompt: Sequence[int], seed: int, number: int) -> list[Sample]:
        """The samples of the prompt of this number."""
        raise NotImplementedError


@SEARCHES.register("step_beam")
@dataclasses.dataclass(frozen=True)
class StepBeam(_StepSearch):
    """Step-level beam search: several next steps are drawn, and the value head decides which paths go on.

    Gives the finished paths of a prompt, best first by value, at most `beams`: `sampling.samples` does not count.

    Source: Chen et al., "AlphaMath Almost Zero: Process Supervision without Process", NeurIPS 2024 (arXiv 2405.03553),
    algorithm 2.
    """

    beams: PositiveInt = 3  # Paths that go on (B1); `proposals` is B2.

    def search(self, sampler: LocalSampler, prompt: Sequence[int], seed: int, number: int) -> list[Sample]:
        steps = Steps(sampler, prompt, seed, self, self.beams)
        return [
            steps.sample(path) for path in step_beam(steps.propose, steps.value, self.beams, self.depth, steps.valid)
        ]


@SEARCHES.register("puct")
@dataclasses.dataclass(frozen=True)
class Puct(_StepSearch):
    """PUCT tree search over steps, guided by the value head and by how likely the policy finds a step.

    Gives the finished paths of the tree, at most `keep`: first the one with the highest means, then by the means of
    their last steps. Ended paths are worth what the value head says, as at test time in the paper.

    In `mtjax.rounds` the grader is asked, as in the paper's training: an ended path is worth 1 if it is right and -1 if
    it is wrong, and at most `keep` right and `keep` wrong paths are given, each with its steps and their means, the
    values that `curation:valued` trains a value head on.

    Source: Chen et al., "AlphaMath Almost Zero: Process Supervision without Process", NeurIPS 2024 (arXiv 2405.03553),
    section 3.
    """

    simulations: PositiveInt = 40  # Expansions of a tree.
    weight: Annotated[float, Gt(0)] = 1.25  # c of PUCT: how much unvisited and likely steps are preferred.
    keep: PositiveInt = 4  # Most paths to give of a prompt; with a grader, of each kind.

    def search(self, sampler: LocalSampler, prompt: Sequence[int], seed: int, number: int) -> list[Sample]:
        steps, ending = Steps(sampler, prompt, seed, self, 1), sampler.ending
        reward = None if ending is None else lambda path: ending(number, steps.sample(path))
        root = puct_search(steps.propose, steps.value, self.simulations, self.depth, weight=self.weight, reward=reward)
        ended = sorted((node for node in _nodes(root) if node.path.ended), key=lambda node: -node.mean)
        if ending is None:
            paths = dict.fromkeys([best_path(root), *(node.path for node in ended)])
            return [steps.sample(path) for path in list(paths)[: self.keep]]
        sides = [[node for node in ended if node.mean == end][: self.keep] for end in (1.0, -1.0)]
        return [valued(steps, node) for side in sides for node in side] or [steps.sample(best_path(root))]


def valued(steps: Steps, node: Node) -> Sample:
    """The path of a node as a sample, with its steps and the means of the nodes on its way."""
    way: list[Node] = []
    above: Node | None = node
    while above is not None and above.parent is not None:
        way, above = [above, *way], above.parent
    texts = ["", *(steps.text(one.path) for one in way)]
    parts = tuple(text[len(before) :] for before, text in itertools.pairwise(texts))
    return steps.sample(node.path)._replace(steps=parts, step_values=tuple(one.mean for one in way))


def _nodes(root: Node) -> list[Node]:
    return [root, *(below for child in root.children for below in _nodes(child))]
