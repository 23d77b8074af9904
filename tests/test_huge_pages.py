"""Commands start again with huge pages where the system gives them on demand only."""

import os
import subprocess
import sys

import pytest

import mtjax


class Restarted(Exception):
    """Stands for the new process: (program, words, environment)."""


def _restart(*process):
    raise Restarted(*process)


@pytest.fixture
def system(monkeypatch, tmp_path):
    """A function that pretends a state of the system and of the environment."""

    def pretend(huge_pages: str, tunables: str | None):
        (tmp_path / "enabled").write_text(huge_pages)
        monkeypatch.setattr(mtjax, "_HUGE_PAGES", str(tmp_path / "enabled"))
        monkeypatch.setattr(os, "execve", _restart)
        monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "mtjax.train", "my.py"])
        if tunables is None:
            monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
        else:
            monkeypatch.setenv("GLIBC_TUNABLES", tunables)

    return pretend


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.arena_max=2", "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"),
    ],
)
def test_the_same_command_starts_again_with_the_setting(system, before, after):
    system("always [madvise] never\n", before)
    with pytest.raises(Restarted) as started:
        mtjax._with_huge_pages()
    program, words, environment = started.value.args
    assert program == sys.executable
    assert words == ["python", "-m", "mtjax.train", "my.py"]
    assert environment["GLIBC_TUNABLES"] == after
    assert environment["PATH"] == os.environ["PATH"]
    assert environment[mtjax._WAITING] == "1"


@pytest.mark.parametrize(
    ("sent", "code", "said"), [("SIGINT", 130, "interrupted\n"), ("SIGTERM", 143, "stopped  by SIG")]
)
def test_a_signal_between_the_two_starts_is_answered_by_the_second(sent, code, said, tmp_path):
    """A start whose signals wait, as after `execve`: one that comes before Python is up is one line, no traceback."""
    program = (
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})\n"
        f"os.kill(os.getpid(), signal.{sent})\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'mtjax.list', 'average'])\n"
    )
    environment = os.environ | {mtjax._WAITING: "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("huge_pages", "tunables"),
    [
        ("[always] madvise never\n", None),  # given anyway
        ("always madvise [never]\n", None),  # never given
        ("always [madvise] never\n", "glibc.malloc.hugetlb=0"),  # the user's own choice
        ("always [madvise] never\n", "glibc.malloc.hugetlb=1"),  # this is the new process
    ],
)
def test_a_process_stays_as_it_is(system, huge_pages, tunables):
    system(huge_pages, tunables)
    mtjax._with_huge_pages()


@pytest.mark.parametrize(
    ("argv", "orig_argv", "expected"),
    [
        (["-m"], ["python", "-m", "mtjax.train", "x.py"], True),
        (["-m"], ["python", "-X", "dev", "-mmtjax.train"], True),
        (["-m"], ["python", "-m", "mtjax", "train"], True),
        (["-m"], ["python", "-m", "pytest", "mtjax"], False),
        (["-m"], ["python", "-m", "mtjaxlike"], False),
        (["/usr/bin/mtjax", "train"], ["python", "/usr/bin/mtjax", "train"], True),
        (["my_script.py"], ["python", "my_script.py"], False),
        (["-c"], ["python", "-c", "import mtjax"], False),
        ([""], ["python"], False),
    ],
)
def test_only_commands_are_started_again(monkeypatch, argv, orig_argv, expected):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert mtjax._is_command() is expected


def test_a_command_ends_as_without_it():
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    ran = subprocess.run([sys.executable, "-m", "mtjax", "--version"], env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, f"mtjax {mtjax.__version__}\n")
