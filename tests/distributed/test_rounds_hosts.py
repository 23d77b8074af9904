"""Rounds, mine, evaluate and generate on two processes of four simulated devices, as on one process of eight."""

import json
import os
import pathlib
import signal
import threading
import time

import pytest

from mtjax.data.problem import Problem
from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed import hosts
from mtjax.evaluation.graders import gold_answer
from mtjax.io.journal import Journal
from mtjax.runs.rounds.attempts import Asked, draw
from mtjax.runs.rounds.serving import ServedSampler
from mtjax.runs.rounds.trainer import Halted
from mtjax.sampling.local import Prompts
from tests.distributed.start import Hosts
from tests.tiny_rounds import Scripted, config

SCRIPT = str(pathlib.Path(__file__).with_name("rounds_hosts.py"))


class Together:
    """Threads as hosts: `exchange` waits for all of them."""

    def __init__(self, patch, count=2):
        self.count, self.here = count, threading.local()
        self.meeting, self.said = threading.Barrier(count, timeout=30), [None] * count
        patch.setattr(hosts, "index", lambda: self.here.number)
        patch.setattr(hosts, "count", lambda: count)
        patch.setattr(hosts, "exchange", self.exchange)

    def exchange(self, value):
        self.said[self.here.number] = json.loads(json.dumps(value))
        self.meeting.wait()
        said = list(self.said)
        self.meeting.wait()
        return said

    def run(self, work):
        """What `work(host)` gives or raises on each host."""
        found = [None] * self.count
        self.meeting.reset()

        def on(host):
            self.here.number = host
            try:
                found[host] = work(host)
            except BaseException as error:
                found[host] = error
                if not isinstance(error, Halted):  # all hosts halt, each when it is here
                    self.meeting.abort()

        threads = [threading.Thread(target=on, args=(host,)) for host in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


def asked(settings):
    """The problems of tiny rounds, without a model."""
    tokenizer = load_tokenizer("arithmetic")
    problems = settings.train.data.source.problems().items
    ids = [tokenizer.encode(f"{problem.question}\n").ids for problem in problems]
    return tokenizer, Asked(list(problems), list(map(gold_answer, problems)), Prompts(ids, 16), ids)


class Judged:
    """Grades by the final answer, and counts how often; the thread that grades belongs to no stand-in of a host."""

    needs_gold = True

    def __init__(self, together):
        self.together, self.calls = together, 0

    def __call__(self, problem: Problem, sample):
        from mtjax.evaluation.graders import AnswerGrader

        self.calls += 1
        return AnswerGrader()(problem, sample)


def test_all_hosts_get_the_attempts_that_the_first_one_judges_and_writes(tmp_path, monkeypatch):
    alone = config(tmp_path / "alone")
    tokenizer, problems = asked(alone)
    sampler = Scripted()
    sampler.tokenizer = tokenizer
    wanted = draw(alone, problems, sampler, 1, {}, lambda: False)

    together = Together(monkeypatch)
    settings = config(tmp_path / "two")
    judge = Judged(together)
    object.__setattr__(settings, "grader", judge)
    own = lambda host: draw(settings, problems, sampler, 1, {}, lambda: False)
    first, second = together.run(own)
    assert first[:3] == second[:3] == wanted[:3]
    assert judge.calls == sum(len(one.mined.solutions) for one in wanted.attempts)  # one host judges
    read = lambda name: (tmp_path / name / "attempts" / "0001.jsonl").read_bytes()
    assert read("two") == read("alone")
    assert together.run(own)[1][:3] == wanted[:3]  # what is there is read, and not drawn again


def test_the_first_host_asks_the_server_for_all(tmp_path, monkeypatch):
    together = Together(monkeypatch)
    settings = config(tmp_path / "two")
    tokenizer, problems = asked(settings)
    scripted = Scripted()
    scripted.tokenizer = tokenizer
    monkeypatch.setattr(ServedSampler, "hand_over", lambda self: None)
    monkeypatch.setattr(ServedSampler, "_server", lambda self: scripted)
    sampler = ServedSampler(config=settings, trainer=None, sampling=None)
    first, second = together.run(lambda host: draw(settings, problems, sampler, 1, {}, lambda: False))
    assert first[:3] == second[:3]
    assert (first.samples, scripted.asked) == (24, list(range(6)))  # once, and not on each host
    stop = together.run(
        lambda host: draw(settings, problems, sampler, 2, {}, lambda: max(hosts.exchange(15 if host == 1 else 0)))
    )
    assert all(isinstance(one, Halted) for one in stop)
    assert len(scripted.asked) < 12


def test_a_signal_to_one_host_stops_all_and_the_next_start_goes_on(tmp_path, monkeypatch):
    together = Together(monkeypatch)
    settings = config(tmp_path / "run")
    tokenizer, problems = asked(settings)
    sampler = Scripted()
    sampler.tokenizer = tokenizer

    def poll(host):
        asked = [0]

        def stopped():
            asked[0] += 1
            return max(hosts.exchange(15 if host == 1 and asked[0] == 1 else 0))

        return stopped

    found = together.run(lambda host: draw(settings, problems, sampler, 1, {}, poll(host)))
    assert all(isinstance(one, Halted) for one in found)
    begun = list(sampler.asked)
    assert together.run(lambda host: draw(settings, problems, sampler, 1, {}, lambda: False).samples) == [24, 24]
    assert sorted(set(sampler.asked[len(begun) :]) | set(begun)) == list(range(6))
    assert len(sampler.asked) == 2 * 6  # each host draws each problem once


def test_other_processes_know_what_the_journal_of_the_first_one_holds(tmp_path, monkeypatch):
    together = Together(monkeypatch)

    def work(host):
        journal = Journal(tmp_path, "records.jsonl", 3, {"a": 1}, {"b": 2}, on_first=hosts.on_first)
        before = journal.missing()
        journal.append((n, {"schema": 1, "number": n} if host == 0 else {}) for n in before[:2])
        seen = len(journal), journal.missing(), journal.before, journal.finished
        if before[:2] != [0, 1]:
            journal.finish()
        journal.close()
        return before, seen, journal.finished

    assert together.run(work) == [([0, 1, 2], (2, [2], {"b": 2}, False), False)] * 2
    assert together.run(work) == [([2], (3, [], {"b": 2}, False), True)] * 2
    assert together.run(work) == [([], (3, [], {"b": 2}, True), True)] * 2
    assert (tmp_path / "records.jsonl").read_text().count("\n") == 3


def stop_after_a_round(started):
    """Send SIGTERM to host 1 once host 0 has told of a round."""
    told = lambda: os.pread(started.files[0].fileno(), 1 << 20, 0).decode(errors="replace")
    deadline = time.monotonic() + 300
    while "round    " not in told() and time.monotonic() < deadline:
        time.sleep(0.05)
    started.processes[1].send_signal(signal.SIGTERM)


@pytest.mark.slow
def test_two_processes_draw_and_lose_what_one_does(tmp_path):
    """The two are stopped by a signal to one of them, and go on."""
    for count, devices in ((2, 4), (2, 4), (1, 8)):
        folder = tmp_path / str(count)
        begun = folder.exists()
        folder.mkdir(exist_ok=True)
        started = Hosts([SCRIPT, str(folder)], count=count, devices=devices)
        if count == 2 and not begun:
            stop_after_a_round(started)
        assert set(started.codes(500).values()) == {0}, started.texts
        if count == 2:
            assert ("stopped  after round" in started.texts[0]) == (not begun)
            assert ("going on from it" in started.texts[0]) == begun
            assert ("round    5/5" in started.texts[0]) == begun
            assert "round" not in started.texts[1]
    two, one = tmp_path / "2", tmp_path / "1"
    lines = json.loads((one / "host-0.json").read_text())
    for host in (0, 1):
        other = json.loads((two / f"host-{host}.json").read_text())
        assert len(other) == len(lines) == 6
        for a, b in zip(lines[1:], other[1:], strict=True):
            assert a["trained"]["updates"] == 2
            assert a["trained"]["means"]["loss"] == pytest.approx(b["trained"]["means"]["loss"], abs=1e-5)
            same = ("right", "wrong", "mixed", "sampled_tokens", "updates", "measured")
            assert [a[key] for key in same] == [b[key] for key in same]
    for place, texts in (
        *((f"run/attempts/{number:04}.jsonl", solutions) for number in range(1, 6)),
        ("mined/solutions.jsonl", solutions),
        *((f"run/measured/{number:04}.jsonl", lambda line: line) for number in range(6)),
        ("evaluated/samples.jsonl", lambda line: line),
    ):
        read = lambda folder, place=place, texts=texts: [
            texts(json.loads(line)) for line in (folder / place).read_text().splitlines()
        ]
        assert read(two) == read(one), place
    assert (two / "generated.txt").read_text() == (one / "generated.txt").read_text()


def solutions(line):
    return [(one["text"], one["verdict"], one["count"]) for one in line["solutions"]]
