"""When to begin another connection beside the one that works."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from realtime_bridge.doorbell.connection import Connection
from realtime_bridge.doorbell.faults import Reason
from realtime_bridge.doorbell.policy import Renew
from realtime_bridge.doorbell.snapshot import RenewalRequest
from realtime_bridge.doorbell.timing import Timing


@dataclass(slots=True)
class _OpenRequest:
    reason: Reason
    made: float
    pause: float


class Renewals:
    """Remembers who asked for a newer connection, and when which kind was last begun.

    All times are seconds of one clock.
    """

    def __init__(self, timing: Timing, clock: Callable[[], float]) -> None:
        self.urgent = asyncio.Event()  # to cut a pause short
        self.begun = -inf  # the last successor
        self.begun_for_silence = -inf  # the last one because of silence
        self.asked_for_all = -inf  # when all wanted bells were last asked for
        self.retry_after = timing.first_retry
        self._request: _OpenRequest | None = None
        self._timing = timing
        self._clock = clock

    def request(self, reason: Reason) -> None:
        """Ask for a connection begun after this moment."""
        self._request = _OpenRequest(reason, self._clock(), self._timing.longest_pause)
        self.urgent.set()

    def open_request(self, current: Connection) -> RenewalRequest | None:
        """Return the request for a newer connection than this one, if there is one."""
        self.answer(current)
        if not self._request:
            return None
        age = self._clock() - self._request.made
        return RenewalRequest(self._request.reason, age, self._request.pause)

    def answer(self, connection: Connection) -> None:
        """Take a connection as the answer to a request, if it was begun after that."""
        if self._request and connection.begun >= self._request.made:
            self._request = None
            self.urgent.clear()

    def begin(self, renewal: Renew) -> None:
        """Record that a successor is begun."""
        self.begun = self._clock()
        if renewal.reason is Reason.DEAF:
            self.begun_for_silence = self.begun
        if renewal.reason is Reason.RETRY:
            self.retry_after = min(2 * self.retry_after, self._timing.longest_retry)

    def fail(self, pause: float) -> None:
        """Leave this many seconds between further tries to fulfil the open request."""
        if self._request:
            self._request.pause = pause

    def retry_soon(self) -> None:
        """Ask again soon for what is missing; at the next look, so that replicas are spread out."""
        self.retry_after = self._timing.first_retry

    @property
    def retry_due(self) -> bool:
        """Whether it is time to ask again for what is missing."""
        return self._clock() - self.asked_for_all >= self.retry_after
