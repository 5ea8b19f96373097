"""An outage of the database, as all lanes together see it, logged in few lines."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from realtime_bridge.database import Refused, Unavailable
from realtime_bridge.observe.throttled_log import ThrottledLog

log = structlog.get_logger()

# An outage is over when nothing has failed for this long; lanes call at least every 5 seconds.
CALM_SECONDS = 6.0


class Timer(Protocol):
    """A call that is scheduled."""

    def cancel(self) -> None:
        """Do not make the call."""


def _later(seconds: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, call)


@dataclass
class _Incident:
    """One outage; times of the clock."""

    began: float
    ended: float = 0.0  # when all lanes were answered again
    failed_calls: int = 0
    lanes: set[str] = field(default_factory=set)


class Outage:
    """Logs the first failed call at once, counts the others, and logs how long the outage lasted.

    Lanes that fail together are one outage, whatever the errors. An outage that returns within a
    few seconds is still the same one.
    """

    def __init__(
        self,
        away: Callable[[bool], None] = lambda _: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], Timer] = _later,
    ) -> None:
        """`away(True)` is called when a first lane gets no answer, `away(False)` when all do."""
        self._away = away
        self._clock = clock
        self._later = later
        self._log = ThrottledLog(log, clock=clock)
        self._down: set[str] = set()  # lanes whose last call failed
        self._unanswered: set[str] = set()  # those of them that got no answer
        self._incident: _Incident | None = None
        self._ending: Timer | None = None

    def failed(self, lane: str, error: Exception) -> None:
        """Record a call that failed: Unavailable or Refused."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        self._incident = self._incident or _Incident(self._clock())
        self._incident.failed_calls += 1
        self._incident.lanes.add(lane)
        self._down.add(lane)
        if isinstance(error, Refused):
            self._log.error("queue_refused", lane=lane, error=error.what, fix=error.fix)
        else:
            self._log.warning("queue_unavailable", lane=lane, error=str(error))
        self._mark(lane, unanswered=isinstance(error, Unavailable))

    def answered(self, lane: str) -> None:
        """Record that a lane's calls work again."""
        self._down.discard(lane)
        self._mark(lane, unanswered=False)
        if not self._down and self._incident and self._ending is None:
            self._incident.ended = self._clock()
            self._ending = self._later(CALM_SECONDS, self._end)

    def close(self) -> None:
        """Log the end of an outage now, if it is about to be logged: the process stops."""
        if self._ending is not None:
            self._ending.cancel()
            self._end()

    def _mark(self, lane: str, *, unanswered: bool) -> None:
        before = bool(self._unanswered)
        if unanswered:
            self._unanswered.add(lane)
        else:
            self._unanswered.discard(lane)
        if before is not bool(self._unanswered):
            self._away(not before)

    def _end(self) -> None:
        incident, self._incident, self._ending = self._incident, None, None
        if incident:
            log.info(
                "queue_available",
                lanes=sorted(incident.lanes),
                lasted_s=round(incident.ended - incident.began, 1),
                failed_calls=incident.failed_calls,
            )
            self._log.over("queue_unavailable", "queue_refused")
