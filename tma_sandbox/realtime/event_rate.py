"""The rate of events over the last minute."""

from collections import deque
from collections.abc import Callable

_WINDOW = 60.0  # seconds


class EventRate:
    """A limit on the average of a minute, as on the real server: it allows bursts."""

    def __init__(self, limit: float | None, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._counts: deque[tuple[float, int]] = deque()
        self._total = 0

    def count(self, events: int) -> None:
        """Record that this many events were sent now."""
        if self._limit is not None and events:
            self._counts.append((self._clock(), events))
            self._total += events

    @property
    def exceeded(self) -> bool:
        """Whether the average of the last minute is over the limit (events per second)."""
        if self._limit is None:
            return False
        while self._counts and self._counts[0][0] <= self._clock() - _WINDOW:
            self._total -= self._counts.popleft()[1]
        return self._total / _WINDOW > self._limit
