"""Two or more sessions, their steps in every possible order.

A step is one statement. Where a step has to wait for another session's lock, that is noticed, the
other sessions go on, and it finishes once it can: as it would in life.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from tests.sql.support import Connection, Worker

Step = Callable[[Worker], Any]
_PATIENCE = 10.0


def commit(worker: Worker) -> None:
    """The step that ends a session's transaction."""
    worker.commit()


def orders(lengths: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every interleaving of sessions with so many steps each, as session numbers.

    >>> list(orders([2, 1]))
    [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    """
    if not any(lengths):
        yield ()
    for session, left in enumerate(lengths):
        if left:
            rest = [*lengths[:session], left - 1, *lengths[session + 1 :]]
            for tail in orders(rest):
                yield (session, *tail)


class Race:
    """Sessions that run their steps in a given order, each in a thread of its own."""

    def __init__(self, dsn: str, scripts: Sequence[Sequence[Step]], watch: Connection) -> None:
        self._workers = [Worker(dsn, autocommit=False) for _ in scripts]
        self._threads = [ThreadPoolExecutor(1) for _ in scripts]
        self._scripts = scripts
        self._watch = watch

    def run(self, order: Sequence[int]) -> list[list[Any]]:
        """Run all steps in this order; what each session's steps returned."""
        futures: list[list[Future[Any]]] = [[] for _ in self._scripts]
        for session in order:
            step = self._scripts[session][len(futures[session])]
            futures[session].append(self._threads[session].submit(step, self._workers[session]))
            self._settle(session, futures[session][-1])
        return [[future.result(_PATIENCE) for future in taken] for taken in futures]

    def close(self) -> None:
        """End the sessions."""
        for worker, thread in zip(self._workers, self._threads, strict=True):
            thread.shutdown()
            worker.connection.close()

    def _settle(self, session: int, future: Future[Any]) -> None:
        """Wait until the step is done, or waits for another session."""
        pid = self._workers[session].connection.info.backend_pid
        deadline = time.monotonic() + _PATIENCE
        while not wait([future], timeout=0.002).done and time.monotonic() < deadline:
            blocked = self._watch.execute(
                "select cardinality(pg_blocking_pids(%s)) > 0 as blocked", [pid]
            ).fetchone()
            if blocked and blocked["blocked"]:
                return
