"""An OpenAI-compatible server.

Of `n`, `logprobs` and `seed`, what a server refuses is left out from then on, and `max_tokens` is called
`max_completion_tokens` where it asks for that; if it ignores `n`, the missing samples are requested one by one.
"""

import threading
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Literal

from mtjax.data.messages import Message, Turns, message_record
from mtjax.errors import InputError, suggest
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.replies import Form, Refused, named, read_choices, trials
from mtjax.sampling.sampler import Prompt, Sample, silence
from mtjax.sampling.transport import Failed, ServerConfig, Stopped, Transport

FIRST_EQUAL = 8  # Prompts after which it is said that all samples of each were equal.


class Server:
    """A server with the restrictions that it has shown so far; its methods may be called from many threads.

    `url` is `http(s)://host[:port][/v1[/completions | /chat/completions]]`, `chat` the interface to use if neither URL
    nor settings say; `say` is called with a message about failures that may pass. Raises InputError for an invalid URL,
    or one with a password; later for every failure that a retry does not fix.
    """

    def __init__(
        self, url: str, config: ServerConfig, *, chat: bool = False, say: Callable[[str], None] = lambda text: None
    ):
        self.base, said = split_url(url)
        self.config, self.transport = config, Transport(self.base, config, say)
        self.api = config.api or said or ("chat" if chat else "completions")
        self.model = config.model
        self.form = Form(frozenset() if config.logprobs else frozenset({"logprobs"}))
        self.most: int | None = config.samples_per_request
        self.say, self.several, self.equal = say, 0, 0  # prompts with several samples, and those with equal ones
        self.lock = threading.Lock()

    def settle_model(self) -> str:
        """The name of the model, from the settings or the server's list; InputError unless it lists exactly one."""
        if self.model is None:
            try:
                names = self.models()
            except Refused as refused:
                if refused.status in (401, 403):
                    raise self._explained(refused) from refused
                raise InputError(
                    f"the server does not list its models at {self.base}/models (status {refused.status}: "
                    f"{refused.said}); name one with --server.model=NAME, or check the URL, which should end in /v1"
                ) from refused
            except InputError as error:
                raise InputError(f"{error}. Where it lists no models, name one: --server.model=NAME") from error
            if len(names) != 1:
                has = f"lists {', '.join(sorted(names)[:20])}" if names else "lists no models"
                raise InputError(f"the server at {self.base} {has}; say which with --server.model")
            self.model = names[0]
        return self.model

    def models(self) -> list[str]:
        """Names of the models that the server lists."""

        def names(reply: Any) -> list[str]:
            data = reply.get("data") if isinstance(reply, Mapping) else None
            if not isinstance(data, list):
                raise Failed(f"its list of models is {reply!r:.80}")
            return [str(one["id"]) for one in data if isinstance(one, Mapping) and "id" in one]

        return self.transport.send("/models", None, names, min(self.config.retries, 3))

    def draw(self, prompt: Prompt, sampling: SamplingConfig, seed: int) -> list[Sample]:
        """`sampling.samples` answers to a prompt, in as many requests as it takes.

        `seed` and the number of the sample make the seed of each request. Raises `Refused` if the server refuses this
        prompt, InputError if it refuses all, `Stopped` when the job is over.
        """
        out: list[Sample] = []
        while len(out) < sampling.samples:
            wanted = min(sampling.samples - len(out), self.most or sampling.samples)
            got = self._ask(prompt, sampling, wanted, (seed + 7919 * len(out)) & 0x7FFFFFFF)
            if len(got) < wanted:
                self.most = max(len(got), 1)  # it ignores `n`, or limits it
            out += got[:wanted]
        if sampling.temperature > 0 and len(out) > 1 and not any(map(silence, out)):
            with self.lock:
                self.several += 1
                self.equal += len({one.text for one in out}) == 1
                all_equal = self.several == self.equal == FIRST_EQUAL
            if all_equal:
                self.say(
                    f"note: the first {FIRST_EQUAL} prompts each got {len(out)} equal samples, though temperature="
                    f"{sampling.temperature:g}: the server seems to decode greedily or to cache; see `do_sample` in "
                    "the generation_config.json of its model"
                )
        return out

    def _ask(self, prompt: Prompt, sampling: SamplingConfig, n: int, seed: int) -> list[Sample]:
        """One request; if it is refused, again in the form that the refusal names, or that may help."""
        usual = [name for name in ("temperature", "top_p") if getattr(sampling, name) == 1]
        todo, tried, first = [self.form], set[Form](), None
        while todo:
            form = todo.pop(0)
            tried.add(form)
            try:
                got = self._request(prompt, sampling, n, seed, form)
            except Refused as refused:
                guesses = [] if first else [Form(without, form.limit) for without in trials(refused, form.without, n)]
                first = first or refused
                todo = [one for one in (*named(refused, form, usual), *todo, *guesses) if one not in tried]
                continue
            self.form = form
            return got
        assert first is not None
        if first.status in (400, 413, 422):
            raise first
        raise self._explained(first) from first

    def _request(self, prompt: Prompt, sampling: SamplingConfig, n: int, seed: int, form: Form) -> list[Sample]:
        chat = self.api == "chat"
        body: dict[str, Any] = {"model": self.settle_model()}
        if isinstance(prompt, str):
            body |= {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
        elif chat:
            body |= {"messages": [message_record(one) for one in prompt if isinstance(one, Message)]}
            if isinstance(prompt, Turns):
                body |= {"tools": list(prompt.tools)} if prompt.tools else {}
                # As vLLM and SGLang call them; others refuse the request.
                body |= {"chat_template_kwargs": prompt.variables} if prompt.variables else {}
        else:
            raise InputError("messages can be asked of a chat only; set --server.api=chat")
        body |= {form.limit: sampling.longest, "temperature": sampling.temperature, "top_p": sampling.top_p}
        body |= {"top_k": sampling.top_k} if sampling.top_k else {}
        body |= {"stop": list(sampling.stop)} if sampling.stop else {}
        offered: dict[str, Any] = {"n": n, "logprobs": True if chat else 1, "seed": seed}
        body |= offered
        body = {name: value for name, value in body.items() if name not in form.without}

        def choices(reply: Any) -> list[Sample]:
            try:
                return read_choices(reply, sampling.stop)
            except ValueError as error:
                raise Failed(str(error)) from error

        return self.transport.send("/chat/completions" if chat else "/completions", body, choices)

    def _explained(self, refused: Refused) -> InputError:
        """The error for a refusal of all requests: its reason and how to fix it."""
        why = f"(status {refused.status}: {refused.said})"
        if refused.status in (401, 403):
            is_set = "the one in it was not accepted" if self.transport.has_key else "it is not set"
            return InputError(
                f"the server at {self.base} wants an API key {why}; the key is taken from the environment variable "
                f"{self.config.api_key_variable}, and {is_set}"
            )
        if refused.status != 404:
            return InputError(f"the server at {self.base}{refused.path} refuses {why}; check URL and settings")
        try:
            names = self.models()
        except (Refused, Failed, InputError, Stopped):
            names = []
        if self.model is not None and names and self.model not in names:
            return InputError(
                f"the server at {self.base} has no model {self.model!r} ({refused.said}); set --server.model: "
                f"{suggest(self.model, names)}"
            )
        return InputError(
            f"the server has no {self.base}{refused.path}, or no model {self.model!r} there {why}; check the URL, "
            f"which should end in /v1, --server.api ({self.api}) and --server.model"
        )


def split_url(url: str) -> tuple[str, Literal["completions", "chat"] | None]:
    """The base URL, up to `/v1`, and the interface that the URL ends in; InputError for a bad one.

    >>> split_url("http://localhost:8000"), split_url("http://host/v1/chat/completions")
    (('http://localhost:8000/v1', None), ('http://host/v1', 'chat'))
    """
    try:
        parts = urllib.parse.urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment:
        raise InputError(f"server URL {url!r}: expected http(s)://host[:port]/v1, such as http://localhost:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise InputError(
            "the server URL holds a name or password; take them out, and put the API key in the environment variable "
            "that --server.api_key_variable names"
        )
    path = parts.path.rstrip("/")
    said: Literal["completions", "chat"] | None = None
    if path.endswith("/completions"):
        path = path.removesuffix("/completions")
        said = "chat" if path.endswith("/chat") else "completions"
        path = path.removesuffix("/chat")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", "")), said
