"""JSON over HTTP with retries, on the standard library only (docs/decisions/a_transport_of_our_own.md).

A request is tried again after a time-out, a broken connection, an answer that cannot be read and the statuses 408, 425,
429 and 5xx. The wait doubles each time, with jitter, and is at least as long as `Retry-After` asks.
"""

import dataclasses
import email.utils
import http.client
import ipaddress
import itertools
import json
import math
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, Literal

from mtjax.errors import InputError
from mtjax.sampling.replies import Refused, said_in

AGAIN = frozenset({408, 425, 429})
"""Statuses below 500 after which a request is tried again; of those from 500 on, all but 501 and 505 are."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How to use a server; only `model` and `api` may change its answers."""

    model: str | None = None  # Name of the model there; None takes the only one that the server lists.
    api: Literal["completions", "chat"] | None = None
    """`/v1/completions` continues the rendered prompt, `/v1/chat/completions` leaves the template to the server. None
    takes what the URL ends in, or else chat for data.task:chat_task and completions for the other tasks."""
    concurrency: int = 16  # Number of concurrent requests.
    timeout: float = 300.0  # Time limit for a complete answer, in seconds.
    retries: int = 8  # Number of retries of a request before the job stops.
    first_wait: float = 1.0  # Seconds before the first retry; each further wait is twice as long.
    longest_wait: float = 60.0  # Upper limit of the doubling wait, in seconds.
    patience: float = 900.0  # Longest accepted `Retry-After`, in seconds; a longer one stops the job.
    samples_per_request: int | None = None
    """Most samples to ask for in one request (`n`); None asks for all of a problem's."""
    logprobs: bool = True  # Request log-probabilities; a server may still give none.
    api_key_variable: str = "MTJAX_API_KEY"
    """Environment variable that holds the API key, sent as a bearer token; if it is not set, no key is sent."""

    def __post_init__(self) -> None:
        least = {"concurrency": 1, "retries": 0, "first_wait": 0, "longest_wait": 0, "patience": 0}
        for name, lowest in least.items():
            if not getattr(self, name) >= lowest:
                raise InputError(f"server.{name}={getattr(self, name)}: expected at least {lowest}")
        if not self.timeout <= threading.TIMEOUT_MAX:
            raise InputError(f"server.timeout={self.timeout}: expected seconds, such as 300")
        if not self.timeout > 0 or (self.samples_per_request is not None and self.samples_per_request < 1):
            raise InputError(
                f"server.timeout={self.timeout}, samples_per_request={self.samples_per_request}: expected more than 0"
            )


class Stopped(Exception):
    """The job is over; waiting requests are dropped."""


class Failed(Exception):
    """A request failed in a way that may pass: what happened, and how long the server asks to wait."""

    def __init__(self, what: str, wait: float | None = None):
        super().__init__(what)
        self.wait = wait


class Transport:
    """Sends requests to one server; may be called from many threads.

    Args:
        base: the URL that every path is appended to.
        config: times, retries and the name of the key's variable.
        say: called with a message about failures, at most once in ten seconds.

    Raises:
        InputError: a key that cannot be sent.
    """

    def __init__(self, base: str, config: ServerConfig, say: Callable[[str], None] = lambda text: None):
        self.base, self.config, self.say = base, config, say
        self.stop = threading.Event()
        """Set to end all waiting."""
        self._not_before = self._said = 0.0
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = os.environ.get(config.api_key_variable, "").strip()
        if not (key.isascii() and (key.isprintable() or not key)):
            raise InputError(f"the key in {config.api_key_variable} holds characters that no key has; set it again")
        self.has_key = bool(key)
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        host = urllib.parse.urlsplit(base).hostname or ""
        proxies = [urllib.request.ProxyHandler({})] if _is_this_machine(host) else []
        self._opener = urllib.request.build_opener(_NoRedirect(), *proxies)

    def send(self, path: str, body: Any, read: Callable[[Any], Any], retries: int | None = None) -> Any:
        """`read(reply)` of a POST of `body`, or of a GET where it is None, with retries.

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
                        f"the server at {self.base} failed {attempt + 1} times in a row, the last time: {failure}. "
                        "What is done is kept: run the same again when it is back, or raise --server.retries"
                    ) from failure
                if failure.wait is not None and failure.wait > self.config.patience:
                    raise InputError(
                        f"the server at {self.base} asks to wait {failure.wait:.0f} s ({failure}); run the same again "
                        "then, or raise --server.patience"
                    ) from failure
                wait = back_off(attempt, self.config, random.random())
                if failure.wait is not None:  # it speaks for all requests, not for this one alone
                    self._not_before = max(self._not_before, time.monotonic() + failure.wait)
                if time.monotonic() - self._said > 10:
                    self._said = time.monotonic()
                    self.say(f"the server failed ({failure}); trying again in {max(wait, failure.wait or 0):.0f} s")
                self.stop.wait(wait)
        raise AssertionError("unreachable")

    def _once(self, path: str, body: Any) -> Any:
        """One request and its JSON; raises `Failed` for a failure that may pass, `Refused` for one that will not."""
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
            return json.loads(b"".join(parts))
        except urllib.error.HTTPError as error:
            with error:
                try:
                    text = error.read(1 << 16)
                except (OSError, http.client.HTTPException):
                    text = b""
            what = said_in(text) or str(error.reason)
            if error.code in AGAIN or (error.code >= 500 and error.code not in (501, 505)):
                raise Failed(f"status {error.code}: {what}", retry_after(error.headers.get("Retry-After"))) from error
            raise Refused(error.code, what, path) from error
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise Failed(f"{type(error).__name__}: {error}") from error


def back_off(attempt: int, config: ServerConfig, unit: float) -> float:
    """Seconds to wait after the failure number `attempt`, from 0: `min(longest, first 2^attempt) (1 + unit) / 2`.

    `unit` in [0, 1) is the jitter, which keeps many requests that failed together from coming back together.
    """
    return min(config.longest_wait, config.first_wait * 2.0 ** min(attempt, 60)) * (1 + unit) / 2


def retry_after(header: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, as a number or a date; None without one that can be read."""
    if header is None:
        return None
    try:
        return max(float(header), 0.0) if math.isfinite(float(header)) else None
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: following one would send the key to another place."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _is_this_machine(host: str) -> bool:
    """Whether a host is this machine, for which proxies of the environment are not used."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
