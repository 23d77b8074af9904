"""A server as the policy that mining asks: problems on many threads, each answered whole or not at all."""

import dataclasses
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from mtjax.data.problem import Message, Problem
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.replies import Refused
from mtjax.sampling.samples import Attempt
from mtjax.sampling.server import Prompt, Server
from mtjax.sampling.transport import Stopped

In, Out = TypeVar("In"), TypeVar("Out")


def in_threads(
    work: Callable[[In], Out],
    items: Iterable[In],
    threads: int,
    stop: threading.Event,
    stopped: Callable[[], Any] = lambda: False,
    poll: float = 0.2,
) -> Iterator[tuple[In, Out]]:
    """Each item with `work(item)`, as they are ready, at most `threads` at a time.

    Ends early when `stopped()`, which is asked every `poll` seconds, and raises what `work` raises; both set `stop` and
    do not wait for work that is going on, but results that are ready are given before.
    """
    waiting, lock = iter(items), threading.Lock()
    ready: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()

    def loop() -> None:
        try:
            while not stop.is_set():
                with lock:
                    item = next(waiting)
                ready.put(("result", item, work(item)))
        except StopIteration:
            pass
        except BaseException as error:  # it belongs to the one who waits for the results
            ready.put(("error", None, error))
            return
        ready.put(("end", None, None))

    running, failure = threads, None
    for number in range(threads):
        threading.Thread(target=loop, name=f"mine-{number}", daemon=True).start()
    try:
        while running:
            try:
                kind, item, value = ready.get(timeout=0 if failure or stop.is_set() else poll)
            except queue.Empty:
                if failure or stop.is_set():
                    break
                if stopped():
                    stop.set()
                continue
            if kind == "result":
                yield item, value
                if stopped():
                    stop.set()
            else:
                running -= 1
                if kind == "error" and not (isinstance(value, Stopped) and stop.is_set()):
                    failure = failure or value
                    stop.set()
    finally:
        if running:
            stop.set()
    if failure is not None:
        raise failure


def chat_or_text(api: str, task: Task, problem: Problem, tokenizer: Tokenizer | None) -> Prompt:
    """What to ask a server: for `completions` the task's prompt; for `chat` messages without any template.

    A chat gets the conversation up to the assistant's last turn, or else one turn of the user: the question for a chat
    task, and the prompt without white space around it for another.
    """
    if api != "chat":
        return task.prompt(problem, None, tokenizer)
    if not task.is_chat:
        return task.prompt(problem, None, tokenizer).strip()
    messages = list(problem.messages) or [Message("user", problem.question)]
    turns = [turn for turn, message in enumerate(messages) if message.role == "assistant"]
    messages = messages[: turns[-1]] if turns else messages
    has_own = bool(messages) and messages[0].role == "system"
    return messages if has_own else [*task.opening(), *messages]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemotePolicy:
    """Draws solutions from a server; called with numbers of problems, see `mtjax.sampling.samples.Draw`.

    A problem is handed over when all its samples are there, so a kill costs at most `concurrency` problems, which are
    asked again. `skip`: note a prompt that the server refuses, instead of stopping.
    """

    server: Server
    problems: Sequence[Problem]
    prompts: Callable[[Problem], Prompt]
    sampling: SamplingConfig
    seed: int
    skip: bool = False

    def __call__(self, todo: Sequence[int], stopped: Callable[[], Any]) -> Generator[list[Attempt], None, None]:
        """One problem at a time, in the order in which they are answered."""
        found = in_threads(self._ask, todo, self.server.config.concurrency, self.server.transport.stop, stopped)
        for _, attempt in found:
            yield [attempt]

    def _ask(self, number: int) -> Attempt:
        problem = self.problems[number]
        seed = int(digest(self.seed, number)[:8], 16) & 0x7FFFFFFF
        try:
            return Attempt(number, self.server.draw(self.prompts(problem), self.sampling, seed))
        except Refused as refused:
            if self.skip:
                return Attempt(number, [], f"refused by the server: {refused}")
            raise InputError(
                f"problem {problem.id}: the server refuses it ({refused}); mend it, or set data.on_error=skip"
            ) from refused
