"""Programs that attack: each is contained, judged wrong or unknown, and leaves nothing behind."""

import os
import pathlib
import tempfile
import time

import pytest

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.data.sources.programs import MathQaPython, Mbpp
from mtjax.errors import InputError
from mtjax.evaluation import sandbox
from mtjax.evaluation.graders.program import ProgramAnswerGrader, ProgramGrader, code_of, listed_tests
from mtjax.evaluation.rewards.tests import TestsReward
from mtjax.evaluation.sandbox import Sandbox, unavailable
from mtjax.sampling.sampler import Sample

if unavailable():
    pytest.skip(f"programs cannot be kept apart here: {unavailable()}", allow_module_level=True)

BOX = Sandbox(seconds=1)
ADD = Problem("add", "Add one.", "assert f(1) == 2\nassert f(2) == 3")
OUTSIDE = pathlib.Path(tempfile.gettempdir()) / "mtjax-escaped"


def left_behind():
    """Processes of sandboxes, and their folders."""
    running = []
    for place in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            running += [place] if b"sandboxed.py" in place.read_bytes() else []
        except OSError:
            continue
    return running, list(pathlib.Path(tempfile.gettempdir()).glob("mtjax-sandbox-*"))


ATTACKS = {
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "endless loop": "while True: pass",
    "sleep": "import time\ntime.sleep(1000)",
    "8 GiB": "x = bytearray(8 << 30)",
    "file outside": f"open({str(OUTSIDE)!r}, 'w').write('x')",
    "file of the project": f"open({__file__!r}).read()",
    "delete": "import shutil\nshutil.rmtree('/usr/lib/python3', onerror=None)",
    "socket": "import socket\nsocket.create_connection(('1.1.1.1', 53), 1)",
    "own socket": "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 1024))\ns.connect(('8.8.8.8', 53))",
    "environment": "import os\nassert 'MTJAX_SECRET' in os.environ",
    "environment of others": "import glob\nassert any(b'MTJAX_SECRET' in open(f, 'rb').read() for f in "
    "glob.glob('/proc/[0-9]*/environ'))",
    "kill the parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(-1, signal.SIGKILL)\nf = 1",
    "kill every process": "import os, signal\nfor pid in range(2, 40000):\n    try: os.kill(pid, 9)\n"
    "    except ProcessLookupError: pass\n    except PermissionError: pass",
    "leave early": "import os\nos._exit(0)",
    "leave politely": "raise SystemExit(0)",
    "outlive": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)",
    "other program": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'], check=True)",
    "fill the disk": "with open('x', 'wb') as f:\n    while True: f.write(bytes(1 << 20))",
    "raise the limits": "import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (999, 999))\nassert False",
    "mount": "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_contained_and_graded_wrong(name, monkeypatch):
    monkeypatch.setenv("MTJAX_SECRET", "1")
    here, since = os.getpid(), time.monotonic()
    assert ProgramGrader(BOX)(ADD, Sample(ATTACKS[name])) is not Verdict.RIGHT
    assert time.monotonic() - since < 7
    assert os.getpid() == here
    assert not OUTSIDE.exists()
    for _ in range(50):  # the kernel ends a namespace a moment after its first process
        if left_behind() == ([], []):
            break
        time.sleep(0.05)
    assert left_behind() == ([], [])


def test_programs_pass_their_tests_and_may_use_their_folder_and_the_library():
    code = "import json, math, random\nopen('x', 'w').write('1')\ndef f(x):\n    return x + int(open('x').read())"
    assert ProgramGrader(BOX)(ADD, Sample(code)) is Verdict.RIGHT
    wrong = "def f(x):\n    return 2"
    assert BOX.tests(wrong, listed_tests(ADD)).passed == (True, False)
    assert TestsReward(sandbox=BOX)(ADD, Sample(wrong), Verdict.WRONG) == 0.5
    assert TestsReward(0.6, BOX)(ADD, Sample(wrong), Verdict.WRONG) == 0.0
    assert BOX.tests("def f(x:", ["assert True"]).error == "SyntaxError in line 1"
    assert BOX.tests("x = 1\ny = 1 / 0", []).error == "ZeroDivisionError in line 2"
    assert BOX.tests("while True: pass", []).outcome == "timeout"
    assert ProgramGrader(BOX)(Problem("p", "?", "no tests"), Sample("x")) is Verdict.UNKNOWN
    assert ProgramGrader(BOX)(ADD, Sample(code, finished=False)) is Verdict.UNKNOWN


def test_the_program_in_a_text():
    assert code_of("a [BEGIN]\nx = 1\n[DONE] b") == "\nx = 1\n"
    assert code_of("```python\nx = 1\n```\nthen\n```\ny = 2\n```\n") == "y = 2"
    assert code_of("x = 1") == "x = 1"
    assert code_of("```py\nx = 1") == "x = 1"  # cut


def test_values_and_states():
    grader = ProgramAnswerGrader(sandbox=BOX)
    assert grader(Problem("p", "?", "0.3"), Sample("answer = 0.1 + 0.2")) is Verdict.RIGHT
    assert grader(Problem("p", "?", "0.3"), Sample("answer = 0.4")) is Verdict.WRONG
    assert grader(Problem("p", "?", "0.3"), Sample("result = 0.3")) is Verdict.WRONG
    one, other = BOX.trace("a = 2\nimport math\nb = a * 3\nanswer = a"), BOX.trace("x = 2\ny = x * 3\nanswer = x")
    assert one.states == (("2",), ("2",), ("2", "6"), ("2", "2", "6"))
    assert one.states[2:] == other.states[1:]  # names do not count
    assert one.answer == "2"
    assert (one.statements[2], one.answers) == ("b = a * 3", (None, None, None, "2"))
    failed = BOX.trace("a = 2  # two\nb = a / 0\nanswer = 1")  # what ran before the error is known
    assert (failed.outcome, failed.error) == ("error", "ZeroDivisionError in line 2")
    assert (failed.statements, failed.states, failed.answers) == (("a = 2",), (("2",),), (None,))


def test_published_forms_of_records(tmp_path):
    (tmp_path / "mbpp.jsonl").write_text(Mbpp.example.replace('_setup_code": ""', '_setup_code": "import math"'))
    (problem,) = Mbpp(str(tmp_path / "mbpp.jsonl")).problems().items
    assert "Your code should pass these tests:\n\nassert f(1) == 2" in problem.question
    assert problem.answer == "import math\nassert f(1) == 2\nassert f(2) == 3"
    assert ProgramGrader(BOX)(problem, Sample(problem.right[0])) is Verdict.RIGHT
    assert len(Mbpp(str(tmp_path / "mbpp.jsonl"), part="train").problems().items) == 1
    with pytest.raises(InputError, match="no task of the part 'test'"):
        Mbpp(str(tmp_path / "mbpp.jsonl"), part="test").problems()
    (tmp_path / "mathqa.jsonl").write_text(MathQaPython.example)
    (problem,) = MathQaPython(str(tmp_path / "mathqa.jsonl")).problems().items
    assert ProgramAnswerGrader(sandbox=BOX)(problem, Sample(problem.right[0])) is Verdict.RIGHT


def test_a_system_that_cannot_keep_programs_apart_is_refused(monkeypatch):
    monkeypatch.setattr(sandbox, "unavailable", lambda: ("namespaces (unshare: Operation not permitted)",))
    with pytest.raises(InputError, match="cannot be kept apart.*unshare.*sandbox.weaker=True"):
        BOX.tests("x = 1", [])
    assert Sandbox(weaker=True).tests("x = 1", ["assert x == 1"]).passed == (True,)
