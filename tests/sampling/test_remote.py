"""Many problems for one server: each once, so many at a time, and stopped without waiting."""

import json
import threading
import time

import pytest

from mtjax.data.problem import Message, Problem
from mtjax.data.tasks import ChatTask, CompletionTask
from mtjax.errors import InputError
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.remote import ServerSampler, chat_or_text, in_threads
from mtjax.sampling.replies import Form
from mtjax.sampling.sampler import ProblemSamples, Sample
from mtjax.sampling.server import Server
from mtjax.sampling.transport import ServerConfig
from tests.sampling.fake_server import FakeServer, error, slowly

QUICK = {"first_wait": 0.01, "longest_wait": 0.02, "timeout": 5.0, "retries": 3}
THREE = SamplingConfig(samples=3, max_new_tokens=9)


def texts(drawn):
    return [one.text for one in drawn]


PROBLEMS = [Problem(f"p{n}", f"{n}?", str(n)) for n in range(20)]


class Policy:
    """A sampler with its prompts, as `mine` calls it."""

    def __init__(self, url, skip, options):
        self.server = Server(url, ServerConfig(**{**QUICK, "model": "tiny", "concurrency": 4, **options}))
        self.sampler = ServerSampler(server=self.server, sampling=THREE, refusal=self.refusal)
        self.skip = skip

    def refusal(self, number, refused):
        if self.skip:
            return str(refused)
        raise InputError(f"problem {PROBLEMS[number].id}: the server refuses it ({refused})")

    def __call__(self, numbers, stopped):
        return self.sampler.draw([problem.question for problem in PROBLEMS], 0, stopped, numbers)


def policy(url, *, skip=False, **options):
    return Policy(url, skip, options)


def test_every_problem_once_at_most_four_at_a_time():
    fake = FakeServer(slowly(0.02))
    with fake.running() as url:
        attempts = [attempt for batch in policy(url)(range(20), lambda: False) for attempt in batch]
    assert sorted(attempt.number for attempt in attempts) == list(range(20))
    assert all(texts(a.samples) == [f"{a.number}?#{i}" for i in range(3)] for a in attempts)
    assert 2 <= fake.most_at_once <= 4
    assert len(fake.requests) == 20


def test_seeds_differ_between_problems_and_depend_on_the_seed():
    fake = FakeServer()
    with fake.running() as url:
        list(policy(url)(range(20), lambda: False))
        list(policy(url)(range(20), lambda: False))
    seeds = {body["prompt"]: body["seed"] for _, body in fake.requests}
    assert len(set(seeds.values())) == 20
    assert all(seeds[body["prompt"]] == body["seed"] for _, body in fake.requests)


def test_a_refused_problem_is_named_or_noted():
    def trouble(fake, path, body, number):
        if body["prompt"] == "7?":
            raise error(400, "maximum context length is 5")

    fake = FakeServer(trouble)
    with fake.running() as url:
        with pytest.raises(InputError, match="problem p7: the server refuses it .*maximum context length"):
            list(policy(url)(range(20), lambda: False))
        asked = policy(url, skip=True)
        attempts = {attempt.number: attempt for (attempt,) in asked(range(20), lambda: False)}
    assert len(attempts) == 20
    assert (attempts[7].samples, "maximum context" in attempts[7].note) == ([], True)
    assert attempts[8].note == ""
    assert asked.server.form == Form()  # a prompt that is refused teaches nothing about the server


def test_told_to_stop_it_stops_at_once_and_keeps_what_is_there():
    fake = FakeServer(lambda fake, path, body, number: fake.over.wait(20) if number > 5 else None)
    with fake.running() as url:
        start, got = time.monotonic(), []
        for batch in policy(url)(range(20), lambda: time.monotonic() - start > 0.5):
            got += batch
        assert time.monotonic() - start < 5
    assert len(got) == 6


def test_a_worker_that_raises_stops_the_others():
    stop, seen = threading.Event(), []

    def work(item):
        if item == 3:
            raise InputError("three")
        seen.append(item)
        return item

    with pytest.raises(InputError, match="three"):
        list(in_threads(work, range(10**9), 3, stop))
    assert stop.is_set()
    assert {0, 1, 2} <= set(seen)


def test_threads_end_when_nobody_listens_any_more():
    stop = threading.Event()
    results = in_threads(lambda item: item, iter(range(10**9)), 2, stop)
    next(results)
    results.close()
    assert stop.is_set()


# What is asked of a chat.


def test_prompts_of_both_interfaces():
    problem = Problem("p", "2 + 3 =", "5")
    assert chat_or_text("completions", CompletionTask(), problem, None) == "2 + 3 =\n"
    assert chat_or_text("chat", CompletionTask(), problem, None) == "2 + 3 ="
    assert chat_or_text("chat", ChatTask(), problem, None) == [Message("user", "2 + 3 =")]
    system, user, bot = Message("system", "s"), Message("user", "u"), Message("assistant", "a")
    assert chat_or_text("chat", ChatTask(system="s"), problem, None) == [system, Message("user", "2 + 3 =")]
    talk = Problem("p", "u", messages=(user, bot, user, bot))
    assert chat_or_text("chat", ChatTask(system="s"), talk, None) == [system, user, bot, user]
    own = Problem("p", "u", messages=(system, user, bot))
    assert chat_or_text("chat", ChatTask(system="other"), own, None) == [system, user]
    with pytest.raises(InputError, match="chat template"):
        chat_or_text("completions", ChatTask(), problem, None)


def test_an_attempt_can_be_written():
    assert json.dumps(ProblemSamples(0, [Sample("a")]))
