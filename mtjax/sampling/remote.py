"""A server as a sampler: prompts on many threads, each answered completely or not at all."""

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from mtjax.data.problem import Problem
from mtjax.data.special_tokens import unshield
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoders import Temperature
from mtjax.sampling.replies import Refused
from mtjax.sampling.sampler import Batches, Numbers, ProblemSamples, Prompt, Stop, Unusable
from mtjax.sampling.server import Server
from mtjax.sampling.transport import Stopped

In, Out = TypeVar("In"), TypeVar("Out")


def in_threads(
    work: Callable[[In], Out],
    items: Iterable[In],
    threads: int,
    stop: threading.Event,
    stopped: Stop = lambda: False,
    poll: float = 0.2,
) -> Iterator[tuple[In, Out]]:
    """Each item with `work(item)`, as they are ready, at most `threads` at a time.

    Ends early when `stopped()`, which is asked every `poll` seconds, and raises what `work` raises; both set `stop` and
    do not wait for work that is going on, but results that are ready are given before.
    """
    waiting, lock = iter(items), threading.Lock()
    ready: queue.SimpleQueue[tuple[Any, Any, BaseException | None]] = queue.SimpleQueue()

    def loop() -> None:
        """Work until an exception ends the thread: StopIteration after the last item."""
        try:
            while not stop.is_set():
                with lock:
                    item = next(waiting)
                ready.put((item, work(item), None))
            raise Stopped
        except BaseException as error:  # it belongs to the one who waits for the results
            ready.put((None, None, error))

    running, failure = threads, None
    for number in range(threads):
        threading.Thread(target=loop, name=f"sampler-{number}", daemon=True).start()
    try:
        while running:
            try:
                item, value, error = ready.get(timeout=0 if stop.is_set() else poll)
            except queue.Empty:
                if stop.is_set():
                    break
                if stopped():
                    stop.set()
                continue
            if error is None:
                yield item, value
                if stopped():
                    stop.set()
                continue
            running -= 1
            if not isinstance(error, StopIteration | Stopped):
                failure = failure or error
                stop.set()
    finally:
        if running:
            stop.set()
    if failure is not None:
        raise failure


def chat_or_text(api: str, task: Task, problem: Problem, tokenizer: Tokenizer | None) -> Prompt:
    """The prompt for a server: for `completions` the task's prompt; for `chat` messages without any template.

    A chat gets the conversation up to the answer; where the task is not a chat, one turn of the user: the prompt
    without white space around it. Raises InputError for a prompt that ends within the answer.
    """
    if api != "chat" or not task.is_chat:
        prompt = unshield(task.prompt(problem, None, tokenizer), tokenizer.special if tokenizer else ())
        return prompt if api != "chat" else prompt.strip()
    return task.turns(problem)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerSampler:
    """Draws from a server; a `mtjax.sampling.sampler.Sampler`.

    A prompt is handed over when all its samples are there, so a kill costs at most `concurrency` prompts, which are
    asked again.
    """

    server: Server
    sampling: SamplingConfig
    refusal: Callable[[int, Refused], str]  # for a refused prompt: gives a note, or raises InputError to stop

    def __post_init__(self) -> None:
        if self.sampling.decoder != Temperature():
            raise InputError(
                f"decoder={self.sampling.decoder}: a server decodes by itself; leave the decoder out, or use a local "
                "model"
            )

    def draw(self, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None) -> Batches:
        """One prompt at a time, in the order in which they are answered; ends at once when `stopped()`."""

        def ask(number: int) -> ProblemSamples:
            prompt = prompts[number]
            if isinstance(prompt, Unusable):
                return ProblemSamples(number, [], prompt.note)
            own_seed = int(digest(seed, number)[:8], 16) & 0x7FFFFFFF
            try:
                return ProblemSamples(number, self.server.draw(prompt, self.sampling, own_seed))
            except Refused as refused:
                return ProblemSamples(number, [], self.refusal(number, refused))

        todo = range(len(prompts)) if numbers is None else numbers
        threads = min(self.server.config.concurrency, len(todo))
        for _, samples in in_threads(ask, todo, threads, self.server.transport.stop, stopped):
            yield [samples]
