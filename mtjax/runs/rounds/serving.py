"""Attempts of a round from a server that reads the weights of the policy as it is now."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from mtjax.data.problem import Problem
from mtjax.distributed import hosts
from mtjax.distributed.placement import read_whole
from mtjax.errors import InputError
from mtjax.runs.export import card_of, export_model
from mtjax.runs.rounds.config import Rounds
from mtjax.runs.rounds.trainer import Trainer
from mtjax.runs.start import origin_of
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.local import Prompts
from mtjax.sampling.remote import ServerSampler, chat_or_text
from mtjax.sampling.replies import Refused
from mtjax.sampling.sampler import Batches, Numbers, ProblemSamples, Prompt, Stop, Unusable
from mtjax.sampling.server import Server


def prompts_for(config: Rounds, trainer: Trainer, problems: Sequence[Problem], fitted: Prompts) -> list[Any]:
    """What the server of a run is asked for each problem; those that are unusable for the model stay so."""
    assert config.serving is not None
    task = config.train.data.task
    api = Server(config.serving.url, config.serving.server, chat=task.is_chat).api
    return [
        ids if isinstance(ids, Unusable) else chat_or_text(api, task, problem, trainer.tokenizer)
        for problem, ids in zip(problems, fitted.ids, strict=True)
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedSampler:
    """Draws from the run's server after it has read the policy's weights; a `mtjax.sampling.sampler.Sampler`.

    Of many hosts the first one exports and asks; the others get the numbers of the problems.
    """

    config: Rounds
    trainer: Trainer
    sampling: SamplingConfig
    say: Callable[[str], None] = print

    def draw(self, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None) -> Batches:
        """As `ServerSampler.draw`, once the server has the weights."""
        self.hand_over()
        if hosts.count() == 1:
            yield from self._server().draw(prompts, seed, stopped, numbers)
            return
        inner = self._server().draw(prompts, seed, lambda: False, numbers) if hosts.index() == 0 else None
        held: list[ProblemSamples] = []

        def following() -> list[int]:
            held[:] = [] if inner is None else next(inner, [])
            return [one.number for one in held]

        while found := hosts.on_first(following):
            yield list(held) if inner is not None else [ProblemSamples(number, []) for number in found]
            if stopped():
                break
        if inner is not None:
            inner.close()

    def hand_over(self) -> None:
        """Export the policy to the server's folder, and have the server read it."""
        serving, trainer, train = self.config.serving, self.trainer, self.config.train
        assert serving is not None
        params = trainer.params if hosts.count() == 1 else read_whole(trainer.params)

        def write() -> None:
            origin = origin_of(train.run_dir)
            card = card_of(train, trainer.updates)
            export_model(serving.folder, trainer.model, params, trainer.decoding, origin, card, serving.dtype)
            serving.tell(self.say)

        hosts.on_first(write)

    def _server(self) -> ServerSampler:
        serving, data = self.config.serving, self.config.train.data
        assert serving is not None

        def refusal(number: int, refused: Refused) -> str:
            if data.on_error == "skip":
                return f"refused by the server: {refused}"
            raise InputError(
                f"the server refuses the prompt of problem {number} of the round ({refused}); fix it, or set "
                "train.data.on_error=skip"
            ) from refused

        server = Server(serving.url, serving.server, chat=data.task.is_chat, say=self.say)
        return ServerSampler(server=server, sampling=self.sampling, refusal=refusal)
