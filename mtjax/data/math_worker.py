"""Mathematics that is no plain number: math-verify in a process of its own, which may be slow, hang or die.

math-verify takes 2 to 1,300 ms a case, times itself by signals (which raise outside a main thread), and counts its own
time-outs as "not equal". Here it has no time limit but ours: when that passes, the process is killed, the answer is
None, and the next question gets a new process.
"""

import atexit
import json
import logging
import os
import pathlib
import select
import subprocess
import sys
import threading
from typing import Any


class MathWorker:
    """Asks one worker process, started at the first question and stopped at exit, whether two answers are equal."""

    def __init__(self, start_seconds: float = 120.0):
        """`start_seconds`: how long the process may take to import math-verify (about 2 s on a quiet machine)."""
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self.starts = 0
        atexit.register(self.close)

    def equal(self, gold: str, answer: str, seconds: float = 10.0) -> bool | None:
        """Whether math-verify finds the answers equal; None when it cannot read one, fails or takes too long."""
        with self._lock:
            process = self._running()
            if process is None:
                return None
            reply = self._exchange(process, json.dumps([gold, answer]).encode() + b"\n", seconds)
        return None if reply is None else reply["equal"]

    def close(self) -> None:
        """Stop the process, if there is one; it starts again when needed."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _running(self) -> "subprocess.Popen[bytes] | None":
        if self._process is None or self._process.poll() is not None:
            self.close()
            self.starts += 1
            root = str(pathlib.Path(__file__).parents[2])
            path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from mtjax.data.math_worker import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=os.environ | {"PYTHONPATH": path},
            )
            if self._exchange(self._process, b"", self._start_seconds) is None:
                return None
        return self._process

    def _exchange(self, process: "subprocess.Popen[bytes]", line: bytes, seconds: float) -> dict[str, Any] | None:
        """Send a line and wait for the line that answers it; None, with the process stopped, when none comes."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line)
            ready, _, _ = select.select([process.stdout], [], [], seconds)
            reply = process.stdout.readline() if ready else b""
        except OSError:  # it died
            reply = b""
        if not reply.endswith(b"\n"):
            self.close()
            return None
        return json.loads(reply)


def compare(gold: str, answer: str) -> bool | None:
    """What math-verify says of two answers, without a time limit; None where it cannot read one. For the worker."""
    import math_verify

    logging.disable()  # it warns about the missing time limit
    expressions = []
    for text in (gold, answer):
        # Bare LaTeX is not recognised: "\frac12" fails, "$\frac12$" does not.
        wrapped = text if "$" in text or "\\boxed" in text else f"${text}$"
        parsed = math_verify.parse(wrapped, parsing_timeout=None, raise_on_error=True)
        if all(isinstance(item, str) for item in parsed):
            return None
        expressions.append(parsed)
    return bool(math_verify.verify(*expressions, timeout_seconds=None, raise_on_error=True))


def serve() -> None:
    """The worker's loop: one JSON line `[gold, answer]` in, one JSON line `{"equal": ...}` out, until input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print must not look like a reply
    import math_verify

    print(json.dumps({"ready": math_verify.__name__}), file=replies, flush=True)
    for line in sys.stdin:
        try:
            equal = compare(*json.loads(line))
        except Exception:  # sympy and its parser raise many kinds: none of them says that an answer is wrong
            equal = None
        print(json.dumps({"equal": equal}), file=replies, flush=True)
