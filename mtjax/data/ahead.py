"""Reading ahead: the next batches are assembled while the device works on the present one."""

import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

from mtjax.data.batches import Batches

DEPTH = 2  # Batches that are ready or being assembled besides the present one.


class Ahead:
    """A function of the step whose next values are computed in a thread.

    Calls may come in any order and give what the function gives; an exception is raised by the call for its step.
    `waited` is how many seconds calls took in total.
    """

    def __init__(self, make: Callable[..., Any], depth: int = DEPTH):
        self.make, self.depth, self.waited = make, depth, 0.0
        self.thread = concurrent.futures.ThreadPoolExecutor(1, "mtjax-batches")
        self.coming: dict[tuple[int, ...], concurrent.futures.Future[Any]] = {}
        self.closed = False

    def __call__(self, step: int, *more: int) -> Any:
        """`make(step, *more)`; begins with the steps after it."""
        began = time.perf_counter()
        try:
            future = self.coming.pop((step, *more), None)
            wanted = [(later, *more) for later in range(step + 1, step + 1 + self.depth)]
            for key in [key for key in self.coming if key not in wanted]:
                self.coming.pop(key).cancel()
            if future is None and not self.closed:
                future = self.thread.submit(self.make, step, *more)
            for key in wanted if not self.closed else ():
                if key not in self.coming:
                    self.coming[key] = self.thread.submit(self.make, *key)
            return self.make(step, *more) if future is None else future.result()
        finally:
            self.waited += time.perf_counter() - began

    def close(self) -> None:
        """End the thread; later calls compute their values themselves."""
        self.closed = True
        self.coming.clear()
        self.thread.shutdown(wait=True, cancel_futures=True)


def read_ahead(batches: Batches) -> Batches:
    """The same batches, assembled ahead; call `close` at the end."""
    ways = (Ahead(batches.batch_at), Ahead(batches.window_at))

    def close() -> None:
        for way in ways:
            way.close()

    return batches._replace(
        batch_at=ways[0],
        window_at=ways[1],
        waited=lambda: sum(way.waited for way in ways),
        close=close,
    )
