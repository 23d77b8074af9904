"""One process at a time in a folder: who holds it is named, and the dead block nobody."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from mtjax.errors import InputError
from mtjax.io.lock import LOCK, locked

HOLD = """
import sys, time
from mtjax.io.lock import locked
with locked(sys.argv[1]):
    print(1, flush=True)
    time.sleep(99)
"""


def test_another_process_is_named_and_its_death_ends_the_lock(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(InputError, match=rf"'.*run' \(pid {holder.pid} on host .+ since 20..-.*another --run_dir"):
            locked(tmp_path / "run", "--run_dir").__enter__()
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / "run" / LOCK).exists()  # it is left over
    with locked(tmp_path / "run"):
        pass
    assert os.listdir(tmp_path / "run") == []


def test_a_folder_made_for_the_lock_alone_is_deleted_again(tmp_path):
    with pytest.raises(InputError, match="refused"), locked(tmp_path / "a" / "b"):
        raise InputError("refused")
    assert os.listdir(tmp_path) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "kept").write_text("x")
    assert os.listdir(tmp_path / "a") == ["kept"]


def test_a_file_system_without_locks_is_used_with_a_note(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")))
    with locked(tmp_path / "a"):
        assert "has no locks (No locks available); do not start a second process" in capsys.readouterr().out


def test_what_a_killed_process_left_is_deleted(tmp_path):
    (tmp_path / ".records.jsonl.0123abcd.tmp").write_text("half")
    (tmp_path / ".folder.0123abcd.tmp").mkdir()
    (tmp_path / ".gone.0123abcd.old").mkdir()  # it was killed between moving the old folder away and the new one there
    (tmp_path / ".mine.tmp").write_text("mine")
    with locked(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [LOCK, ".mine.tmp", "gone"]
