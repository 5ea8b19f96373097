"""Why a lane does not work: its queue does not answer, or nothing can be sent."""

from collections.abc import Callable, Iterator
from math import inf
from typing import Protocol

from realtime_bridge.base import delays
from realtime_bridge.database import Refused, Unavailable

# While the queue is down it is asked at least so often: as often as a deaf doorbell makes a sweep.
WAIT_CAP_SECONDS = 5.0
# When it is up again, outcomes that waited are written first: a sweep before that would report
# their rows as uncertain. So a sweep waits for as long as the queue was down, but at most this
# long: other replicas have asked again by then too.
SETTLE_FIRST_SECONDS = 10.0


def waits() -> Iterator[float]:
    """Yield seconds between tries while the queue is down."""
    return delays(cap=WAIT_CAP_SECONDS)


class Reports(Protocol):
    """Who is told."""

    def queue_down(self, error: Unavailable | Refused) -> None:
        """A call was not answered, or refused."""

    def queue_up(self) -> None:
        """The queue answers again."""

    def halted(self, why: str | None) -> None:
        """Nothing can be sent, or it can again."""


class Condition:
    """What is wrong with a lane, and since when."""

    def __init__(
        self,
        report: Reports,
        waits: Callable[[], Iterator[float]],
        clock: Callable[[], float],
    ) -> None:
        self.problem: str | None = None  # why the queue does not answer
        self.halted: str | None = None  # why nothing can be sent
        self.settle_until = -inf  # no sweep before: outcomes that waited are written first
        self._report = report
        self._waits = waits
        self._tries = waits()
        self._clock = clock
        self._down_since = inf
        self._told_down = False  # the observer knows of a call that failed, and of none since

    def failed(self, error: Unavailable | Refused) -> float:
        """Take note of a call without an answer; return when to ask again."""
        now = self._clock()
        self._down_since = min(self._down_since, now)
        self.problem = str(error)
        self.tell_down(error)
        again = now + next(self._tries)
        patience = min(again - self._down_since, SETTLE_FIRST_SECONDS)
        self.settle_until = again + patience
        return again

    def tell_down(self, error: Unavailable | Refused) -> None:
        """Report a call that failed, without more ado."""
        self._told_down = True
        self._report.queue_down(error)

    def answered(self) -> None:
        """Take note that the queue answers."""
        self._down_since = inf
        self.problem = None
        self._tries = self._waits()
        if self._told_down:
            self._told_down = False
            self._report.queue_up()

    def halt(self, why: str | None) -> None:
        """Take note that nothing can be sent, or (None) that it can."""
        if why != self.halted:
            self.halted = why
            self._report.halted(why)
