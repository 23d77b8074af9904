"""The hosts' line, in threads of this process: who is missing, who differs, who is gone, and how fast that is known."""

import json
import socket
import threading
import time

import pytest

from mtjax import export
from mtjax.distributed import hosts
from mtjax.distributed.host_channel import Cluster, Line
from mtjax.errors import ExitCode, HostLost, InputError
from tests.distributed.start import free_port


class Crew:
    """Hosts as threads; each keeps its line, or the exception that it got."""

    def __init__(self, count, present=None, heartbeat=20.0, start_timeout=20.0, change=None):
        port = free_port()
        self.lines, self.errors, self.ends = {}, {}, {}
        self.threads = []
        for host in range(count) if present is None else present:
            cluster = Cluster("127.0.0.1", port, count, host, start_timeout, heartbeat)
            cluster = cluster._replace(**(change or {}).get(host, {}))
            self.threads.append(threading.Thread(target=self.start, args=(host, cluster)))
            self.threads[-1].start()
        for thread in self.threads:
            thread.join()

    def start(self, host, cluster):
        try:
            self.lines[host] = Line(cluster, lambda code, text: self.ends.__setitem__(host, (code, text)))
        except (InputError, HostLost) as error:
            self.errors[host] = error

    def wait_for_ends(self, number, seconds=5.0):
        began = time.monotonic()
        while len(self.ends) < number and time.monotonic() - began < seconds:
            time.sleep(0.01)
        return time.monotonic() - began

    def close(self):
        for line in self.lines.values():
            line.close()


def test_everyone_gets_everyones_value_in_order():
    crew = Crew(3)
    got = {}

    def talk(host):
        got[host] = [crew.lines[host].exchange([host, turn]) for turn in range(3)]

    threads = [threading.Thread(target=talk, args=(host,)) for host in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    expected = [[[host, turn] for host in range(3)] for turn in range(3)]
    assert got == {0: expected, 1: expected, 2: expected}
    crew.close()
    assert not crew.ends  # a farewell is no failure


def test_the_missing_are_named_to_all_who_came():
    crew = Crew(4, present=(0, 2), start_timeout=0.5)
    for host in (0, 2):
        assert isinstance(crew.errors[host], HostLost)
        assert "host 1, 3 of 4 did not come within 0.5 s" in str(crew.errors[host])
        assert f"2 = {socket.gethostname()}" in str(crew.errors[host])


def test_a_missing_host_0_is_named_with_its_address():
    crew = Crew(2, present=(1,), start_timeout=0.3)
    assert "host 0 is missing: nobody answers at 127.0.0.1:" in str(crew.errors[1])


@pytest.mark.parametrize(
    ("change", "expected"),
    [({2: {"host": 1}}, "says it is host 1 of 3, which is"), ({1: {"hosts": 5}}, "host 1 (")],
)
def test_hosts_that_count_otherwise_are_refused(change, expected):
    crew = Crew(3, change=change, start_timeout=2)
    assert isinstance(crew.errors[0], InputError)
    assert expected in str(crew.errors[0])
    assert "MTJAX_HOST" in str(crew.errors[0])


def test_a_stranger_who_calls_is_not_counted():
    port = free_port()
    crew = threading.Thread(target=lambda: lines.append(Line(Cluster("127.0.0.1", port, 2, 0, 10, 10), print)))
    lines = []
    crew.start()
    for said in (b"GET / HTTP/1.1\r\n\r\n", b'{"hello": "you"}\n'):
        while True:
            try:
                stranger = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        stranger.sendall(said)
        stranger.close()
    other = Line(Cluster("127.0.0.1", port, 2, 1, 10, 10), print)
    crew.join()
    assert lines[0].names.keys() == {0, 1}
    other.close()
    lines[0].close()


def test_a_host_that_dies_is_known_to_all_at_once_by_name():
    crew = Crew(3)
    crew.lines[2].ended.set()  # a dead process says nothing more
    crew.lines[2].peers[0].shutdown(socket.SHUT_RDWR)
    assert crew.wait_for_ends(2) < 2
    for host in (0, 1):
        code, text = crew.ends[host]
        assert code == ExitCode.HOST_LOST
        assert text.startswith(f"host 2 ({socket.gethostname()}, pid ")
        assert text.endswith("is lost: its process is gone")
    crew.close()


def test_a_host_that_hangs_is_lost_within_the_heartbeat():
    crew = Crew(2, heartbeat=0.8)
    time.sleep(1.5)
    assert not crew.ends  # signs of life come four times in a heartbeat
    crew.lines[1].ended.set()
    assert crew.wait_for_ends(1) < 2
    assert crew.ends[0][0] == ExitCode.HOST_LOST
    assert "not a sign of it for 0.8 s" in crew.ends[0][1]
    crew.close()


def test_a_failure_is_told_to_all_with_its_code():
    crew = Crew(3)
    crew.lines[1].fail(ExitCode.BAD_INPUT, "no such file")
    crew.wait_for_ends(2)
    assert {host: code for host, (code, _) in crew.ends.items()} == {0: 2, 2: 2}
    assert crew.ends[2][1].endswith("stopped: no such file")
    crew.close()


def agree(*facts):
    """What host 0 has to say of these facts, one dictionary a host."""

    class Spoken:
        cluster = Cluster("127.0.0.1", 1, len(facts), 0)

        def exchange(self, value):
            return json.loads(json.dumps(facts))

    hosts._line = Spoken()
    try:
        hosts.agree(facts[0])
    except InputError as error:
        return str(error)
    finally:
        hosts._line = None
    return ""


def test_the_host_that_differs_is_named_with_what_it_has():
    same = {"optim.learning_rate": "0.1", "data": "abc", "devices": "4 x cpu"}
    assert agree(same, same, same) == ""
    other = agree(same, same | {"optim.learning_rate": "0.2"}, same)
    assert "optim.learning_rate: host 1 has 0.2, host 0 has 0.1" in other
    assert "data" not in other
    # Host 0 itself may be the odd one; of two, it is the norm.
    assert "data: host 0 has xyz, host 1 has abc" in agree(same | {"data": "xyz"}, same, same)
    assert "data: host 1 has xyz, host 0 has abc" in agree(same, same | {"data": "xyz"})
    assert "devices: host 1 has absent" in agree(same, {"optim.learning_rate": "0.1", "data": "abc"})


def test_all_code_of_the_package_is_compared(tmp_path, monkeypatch):
    (tmp_path / "distributed").mkdir()
    monkeypatch.setattr(hosts, "__file__", str(tmp_path / "distributed" / "hosts.py"))
    file = tmp_path / "train.py"
    file.write_text("a = 1")
    before = hosts.code_facts()["code of mtjax"]
    file.write_text("a = 2")
    assert hosts.code_facts()["code of mtjax"] != before


def test_the_environment_says_who_one_is_or_is_refused():
    full = {"MTJAX_HOSTS": "4", "MTJAX_HOST": "3", "MTJAX_COORDINATOR": "10.0.0.1:1234"}
    assert hosts.read_cluster({}) is None
    assert hosts.read_cluster(full | {"MTJAX_HOSTS": "1", "MTJAX_HOST": "0"}) is None
    assert hosts.read_cluster(full | {"MTJAX_HEARTBEAT": "7"}) == Cluster("10.0.0.1", 1234, 4, 3, 300, 7)
    assert hosts.read_cluster(full | {"MTJAX_COORDINATOR": "[fd00::1]:99"}).address == "fd00::1"
    for bad in ({"MTJAX_HOST": "4"}, {"MTJAX_HOST": "x"}, {"MTJAX_COORDINATOR": "here"}, {"MTJAX_HEARTBEAT": "0"}):
        with pytest.raises(InputError):
            hosts.read_cluster(full | bad)
    with pytest.raises(InputError, match="MTJAX_HOST is not; set all three"):
        hosts.read_cluster({name: full[name] for name in ("MTJAX_HOSTS", "MTJAX_COORDINATOR")})


def test_commands_of_one_host_refuse_many(monkeypatch, capsys):
    for name, value in (("HOSTS", "2"), ("HOST", "1"), ("COORDINATOR", "127.0.0.1:9")):
        monkeypatch.setenv(f"MTJAX_{name}", value)
    assert export.main(["smollm2", "out"]) == ExitCode.BAD_INPUT
    assert "MTJAX_HOSTS=2, but this command runs on one host" in capsys.readouterr().err
