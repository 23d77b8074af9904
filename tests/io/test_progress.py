"""Progress: bars only on a terminal and without `--quiet`; inner bars share the display of the outer one."""

import os
import pty
import subprocess
import sys

import pytest

from mtjax.io import progress as module
from mtjax.io.progress import progress, say, shown, take_switches, track


@pytest.fixture(autouse=True)
def loud():
    yield
    take_switches([])


def test_quiet_is_a_word_of_every_command(capsys):
    assert take_switches(["a", "--quiet", "--b=1"]) == ["a", "--b=1"]
    say("what is done")
    assert capsys.readouterr().out == ""
    assert take_switches(["a"]) == ["a"]
    say("one", "two")
    assert capsys.readouterr().out == "one\ntwo\n"
    assert not shown()  # pytest's output is no terminal


def test_items_come_through_with_bars_and_without(monkeypatch, capsys):
    assert list(track(iter("abc"), "letters", 3)) == list("abc")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(module, "shown", lambda: True)
    with progress("outer", 2, done=1) as advance:
        outer = module._display
        assert list(track("abc", "inner")) == list("abc")
        assert module._display is outer
        assert [(task.description, task.completed) for task in outer.tasks] == [("outer", 1)]
        advance(1, "text")
        assert outer.tasks[0].completed == 2
    assert module._display is None
    with pytest.raises(ValueError, match="inside"), progress("failing", None):
        raise ValueError("inside")
    assert module._display is None


def test_a_terminal_shows_the_time_left():
    code = "import time; from mtjax.io.progress import track\nfor _ in track(range(4), 'counting'): time.sleep(0.3)"
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stdout=theirs, env=os.environ | {"TERM": "xterm"}, timeout=60)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 1 << 16):
            text += part
    except OSError:  # the end of a pseudo-terminal
        pass
    os.close(ours)
    assert done.returncode == 0
    assert b"counting" in text
    assert b"/4" in text
    assert b"0:00:0" in text
