"""How long each stage of handling one row took."""

import time
from collections.abc import Callable


class Stopwatch:
    """A stopwatch: each lap is the time since the one before.

    >>> ticks = iter([0.0, 0.25, 1.25])
    >>> stopwatch = Stopwatch(clock=lambda: next(ticks))
    >>> stopwatch.lap("render"); stopwatch.lap("send")
    >>> stopwatch.milliseconds
    {'render': 250.0, 'send': 1000.0}
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter, before: float = 0.0) -> None:
        """`before`: seconds that had passed when it was started, which belong to no stage."""
        self._clock = clock
        self._last = clock()
        self._started = self._last - before
        self.milliseconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Record the time since the last lap under the name of a stage."""
        now = self._clock()
        self.milliseconds[stage] = round((now - self._last) * 1000, 2)
        self._last = now

    @property
    def seconds(self) -> float:
        """The sum of all laps."""
        return sum(self.milliseconds.values()) / 1000

    @property
    def age(self) -> float:
        """Seconds until now, with those before the start."""
        return self._clock() - self._started
