"""JSON over HTTP with retries, on the standard library only (docs/decisions/a_transport_of_our_own.md).

A request is tried again after a time-out, a broken connection, an answer that cannot be read and the statuses 408, 425,
429 and 5xx. The wait doubles each time, with jitter, and is at least as long as `Retry-After` asks.
"""

import contextlib
import dataclasses
import email.utils
import http.client
import itertools
import json
import math
import os
import random
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from mtjax.errors import InputError
from mtjax.sampling.replies import Refused, said_in
from mtjax.validation import PositiveInt, check_types

AGAIN = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505}  # Statuses after which a request is tried again.
_JITTER = random.Random()  # not the generator of the process, which a caller may have seeded

Seconds = Annotated[float, Ge(0)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How to use a server; only `model` and `api` may change its answers."""

    model: str | None = None  # Name of the model there; None takes the only one that the server lists.
    api: Literal["completions", "chat"] | None = None
    """`/v1/completions` continues the rendered prompt, `/v1/chat/completions` leaves the template to the server. None
    takes what the URL ends in, or else chat for data.task:chat_task and completions for the other tasks."""
    concurrency: PositiveInt = 16  # Number of concurrent requests.
    timeout: Annotated[float, Gt(0), Le(threading.TIMEOUT_MAX)] = 300.0  # Seconds for a complete answer.
    retries: Annotated[int, Ge(0)] = 8  # Number of retries of a request before the job stops.
    first_wait: Seconds = 1.0  # Seconds before the first retry; each further wait is twice as long.
    longest_wait: Seconds = 60.0  # Upper limit of the doubling wait, in seconds.
    patience: Seconds = 900.0  # Longest accepted `Retry-After`, in seconds; a longer one stops the job.
    samples_per_request: PositiveInt | None = None  # Most samples per request (`n`); None asks for all of a problem.
    logprobs: bool = True  # Request log-probabilities; a server may still give none.
    api_key_variable: str = "MTJAX_API_KEY"  # Environment variable with the API key (a bearer token), if there is one.

    def __post_init__(self) -> None:
        check_types(self, "server")


class Stopped(Exception):
    """The job is over; waiting requests are dropped."""


class Failed(Exception):
    """A request failed in a way that may pass; `wait` is how long the server asks to wait, in seconds."""

    def __init__(self, what: str, wait: float | None = None):
        super().__init__(what)
        self.wait = wait


class Transport:
    """Sends requests to one server, to paths below the URL `base`; may be called from many threads.

    `say` is called with a message about failures, at most once in ten seconds. Raises InputError for a key that cannot
    be sent.
    """

    def __init__(self, base: str, config: ServerConfig, say: Callable[[str], None] = lambda text: None):
        self.base, self.config, self.say = base, config, say
        self.stop = threading.Event()  # set to end all waiting
        self._not_before = self._said = 0.0
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = os.environ.get(config.api_key_variable, "").strip()
        if not (key.isascii() and (key.isprintable() or not key)):
            raise InputError(f"the key in {config.api_key_variable} holds characters that no key has; set it again")
        self.has_key = bool(key)
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        host = urllib.parse.urlsplit(base).hostname or ""
        here = host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", host)
        proxies = [urllib.request.ProxyHandler({})] if here else []  # this machine is reached without a proxy
        self._opener = urllib.request.build_opener(_NoRedirect(), *proxies)

    def send(self, path: str, body: Any, read: Callable[[Any], Any], retries: int | None = None) -> Any:
        """`read(reply)` of a POST of `body`, or of a GET if it is None, with retries.

        `read` raises `Failed` for an invalid reply. Raises `Refused` for a status that will not change, InputError
        when `retries` (default: the settings') are used up, `Stopped` when the job is over.
        """
        retries = self.config.retries if retries is None else retries
        for attempt in itertools.count():
            while (wait := self._not_before - time.monotonic()) > 0 and not self.stop.is_set():
                self.stop.wait(min(wait, 1.0))
            if self.stop.is_set():
                raise Stopped
            try:
                return read(self._once(path, body))
            except Failed as failure:
                if attempt >= retries:
                    raise InputError(
                        f"the server at {self.base}{path} failed {attempt + 1} times in a row, the last time: "
                        f"{failure}. "
                        "What is done is kept: run the same again when it is back, or raise --server.retries"
                    ) from failure
                if failure.wait is not None and failure.wait > self.config.patience:
                    raise InputError(
                        f"the server at {self.base} asks to wait {failure.wait:.0f} s ({failure}); run the same again "
                        "then, or raise --server.patience"
                    ) from failure
                wait = back_off(attempt, self.config, _JITTER.random())
                if failure.wait is not None:  # it speaks for all requests, not for this one alone
                    self._not_before = max(self._not_before, time.monotonic() + failure.wait)
                if time.monotonic() - self._said > 10:
                    self._said = time.monotonic()
                    self.say(f"the server failed ({failure}); trying again in {max(wait, failure.wait or 0):.0f} s")
                self.stop.wait(wait)
        raise AssertionError("unreachable")

    def _once(self, path: str, body: Any) -> Any:
        """One request and its JSON; raises `Failed` or `Refused`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, self._headers)
        deadline = time.monotonic() + self.config.timeout
        try:
            with self._opener.open(request, timeout=self.config.timeout) as response:
                parts = []
                while part := response.read1(1 << 16):
                    parts.append(part)
                    if time.monotonic() > deadline:  # the socket's own limit is per read
                        raise TimeoutError(f"no complete answer within {self.config.timeout:g} s")
            return self._read(path, b"".join(parts))
        except urllib.error.HTTPError as error:
            text = b""
            with error, contextlib.suppress(OSError, http.client.HTTPException):
                text = error.read(1 << 16)
            what = said_in(text) or str(error.reason)
            if error.code in AGAIN:
                raise Failed(f"status {error.code}: {what}", retry_after(error.headers.get("Retry-After"))) from error
            raise Refused(error.code, what, path) from error
        except InputError:
            raise
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise Failed(f"{type(error).__name__}: {error}") from error

    def _read(self, path: str, body: bytes) -> Any:
        """The JSON of a reply with a status of success; None for an empty one.

        Raises `Refused` or `Failed` for an error in it, InputError for what no repetition changes: a page or a stream
        of events in its place.
        """
        start = body[:200].lstrip().lower()
        kind = "a page of HTML" if start.startswith((b"<!doctype", b"<html", b"<head", b"<body")) else ""
        kind = "a stream of events" if start.startswith((b"data:", b"event:", b": ")) else kind
        try:
            found = None if kind or not start else json.loads(body)
        except ValueError as error:
            if not (start.startswith(b"{") and re.search(rb"\}\s*\n\s*\{", body)):
                raise Failed(f"a reply that is not JSON: {said_in(body)[:200]!r}") from error
            kind = "a stream of JSON lines"
        if kind:
            raise InputError(
                f"the server at {self.base}{path} sent {kind} in place of a JSON reply: {said_in(body)[:200]!r}; check "
                "the URL, which should be that of an OpenAI-compatible API and end in /v1"
            )
        if isinstance(found, dict) and found.get("error") and "choices" not in found:
            code = found["error"].get("code") if isinstance(found["error"], dict) else None
            status = code if type(code) is int and 400 <= code < 600 else 400
            if status in AGAIN:
                raise Failed(f"status {status}: {said_in(body)}")
            raise Refused(status, said_in(body), path)
        return found


def back_off(attempt: int, config: ServerConfig, unit: float) -> float:
    """Seconds after failure `attempt`, from 0: `min(longest, first 2^attempt) (1 + unit) / 2`; `unit` is jitter."""
    return min(config.longest_wait, config.first_wait * 2.0 ** min(attempt, 60)) * (1 + unit) / 2


def retry_after(header: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, as a number or a date; None without one that can be read."""
    try:
        seconds = float(header or "")
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header or "").timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: following one would send the key to another place."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
