"""Mathematics other than plain numbers: math-verify in a process of its own, which may be slow, hang or die.

math-verify takes 2 to 1,300 ms a case, times itself by signals (which raise outside a main thread), and counts its own
time-outs as "not equal". Here only our limit applies: then the process is killed, and the next question starts another.
"""

import atexit
import logging
import multiprocessing.connection
import os
import subprocess
import sys
import threading

START_SECONDS = 120.0  # that the process may take to import math-verify, about 2 s on a quiet machine


class MathWorker:
    """Asks one worker process, started at the first question and stopped at exit, whether two answers are equal."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self.starts = 0
        atexit.register(self.close)

    def equal(self, gold: str, answer: str, seconds: float = 10.0) -> bool | None:
        """Whether math-verify finds the answers equal; None if it cannot read one, fails or takes too long."""
        with self._lock:
            try:
                if self._process is None or self._process.poll() is not None:
                    self._start()
                self._pipe.send((gold, answer))
                return self._reply(seconds)
            except (OSError, EOFError):  # it died, or took too long (TimeoutError is an OSError)
                self.close()
                return None

    def close(self) -> None:
        """Stop the process, if there is one; it starts again when needed."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            self._pipe.close()

    def _start(self) -> None:
        """Start a process and wait until it is ready. It ends when this end of its pipe is closed."""
        self.close()
        self.starts += 1
        self._pipe, theirs = multiprocessing.connection.Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from mtjax.data.math_worker import serve; serve({theirs.fileno()})"],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # whatever libraries print
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._reply(START_SECONDS)

    def _reply(self, seconds: float) -> bool | None:
        if not self._pipe.poll(seconds):
            raise TimeoutError
        return self._pipe.recv()


def compare(gold: str, answer: str) -> bool | None:
    """Whether math-verify finds two answers equal, without a time limit; None if it cannot read one."""
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


def serve(file: int) -> None:
    """The worker's loop on an open pipe: answers "ready" (None), then each `(gold, answer)` with `compare`'s result."""
    import math_verify  # noqa: F401  (slow: before the first question)

    with multiprocessing.connection.Connection(file) as pipe:
        pipe.send(None)
        while True:
            gold, answer = pipe.recv()
            try:
                equal = compare(gold, answer)
            except Exception:  # sympy and its parser raise many kinds: none of them says that an answer is wrong
                equal = None
            pipe.send(equal)
