"""A teacher: a model on a server that answers requests in words, or a file of what one has answered before."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

from annotated_types import Ge

from mtjax.errors import InputError
from mtjax.io.jsonl import json_of
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.remote import ServerSampler
from mtjax.sampling.replies import Refused
from mtjax.sampling.server import Server, split_url
from mtjax.sampling.transport import ServerConfig
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teacher:
    """Any OpenAI-compatible server, or a file of recorded answers; one of both."""

    url: str = ""  # The server, such as https://host/v1; its key is taken from server.api_key_variable.
    recorded: str = ""
    """A file of JSON lines with `prompt` and `text`, such as those that a run keeps in its folder `teacher`."""
    temperature: Annotated[float, Ge(0)] = 0.7  # Temperature at which a server answers.
    max_new_tokens: PositiveInt = 512  # Longest answer of a server, in tokens.
    server: ServerConfig = ServerConfig()  # How to use the server.

    def __post_init__(self) -> None:
        check_types(self, "teacher")
        if bool(self.url) == bool(self.recorded):
            raise InputError(
                f"teacher.url={self.url!r} and teacher.recorded={self.recorded!r}: give one of them, the server that "
                "answers or the file of recorded answers"
            )
        if self.url:
            split_url(self.url)

    def answers(
        self, prompts: Sequence[str], numbers: Sequence[int], seed: int, say: Callable[[str], None] = print
    ) -> Iterator[tuple[int, str]]:
        """The answers to the prompts with these numbers, each with its number, as they come; "" for a refused prompt.

        Raises:
            InputError: a server that does not answer; a file that cannot be read, or that lacks a prompt.
        """
        if self.recorded:
            known = read_answers(self.recorded)
            for number in numbers:
                if prompts[number] not in known:
                    raise InputError(
                        f"{self.recorded} has no answer to the prompt {prompts[number]!r:.120}; it was recorded for "
                        "other attempts: ask a server (teacher.url)"
                    )
                yield number, known[prompts[number]]
            return

        def refusal(number: int, refused: Refused) -> str:
            return f"refused: {refused}"

        server = Server(self.url, self.server, chat=True, say=say)
        sampling = SamplingConfig(temperature=self.temperature, max_new_tokens=self.max_new_tokens)
        sampler = ServerSampler(server=server, sampling=sampling, refusal=refusal)
        for batch in sampler.draw(list(prompts), seed, lambda: False, numbers):
            for one in batch:
                yield one.number, one.samples[0].text if one.samples else ""


def read_answers(path: str) -> dict[str, str]:
    """The recorded answers of a file by their prompts; InputError for a file or line that is none."""
    found: dict[str, str] = {}
    try:
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                record: Any = json_of(line, f"{path}:{number}")
                if not isinstance(record, dict) or not all(
                    isinstance(record.get(key), str) for key in ("prompt", "text")
                ):
                    raise InputError(f"{path}:{number}: {record!r:.80}; expected an object with 'prompt' and 'text'")
                found[record["prompt"]] = record["text"]
    except OSError as error:
        raise InputError(f"teacher.recorded={path} cannot be read ({error.strerror})") from error
    return found
