"""A log for lines that repeat: written once, then counted."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FIRST_COUNT_SECONDS = 60.0
GROWTH = 2.0
LONGEST_SECONDS = 3600.0
# A line that comes again after this long is new.
NEW_AFTER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Total:
    """How long something lasted, and how many lines were logged or counted for it."""

    seconds: float
    times: int


@dataclass
class _Run:
    """Lines of one kind; times of the clock."""

    began: float
    last: float
    logged: float
    times: int = 1
    counted: int = 0  # lines since it was last logged
    wait: float = FIRST_COUNT_SECONDS


class ThrottledLog:
    """A log that writes the first line of a kind at once, and counts those that follow.

    After a minute one line tells how many there were ("again": "40 times in 60 s"), with the fields
    of the latest; then after two more minutes, after four, and so on. The counted lines are logged
    at level debug. A kind is an event name, whatever the error: one outage has many.
    """

    def __init__(
        self, log: Any, *, by: tuple[str, ...] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`by`: names of fields whose values make different kinds; each must have few values."""
        self._log = log
        self._by = by
        self._clock = clock
        self._runs: dict[tuple[Any, ...], _Run] = {}

    def info(self, event: str, **fields: Any) -> None:
        """Log or count normal operation."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log or count a problem that may pass."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log or count a problem that must be fixed."""
        self._write("error", event, fields)

    def over(self, *events: str) -> Total | None:
        """Sum up the lines of these events, if there were any; the next one is logged at once."""
        ended = [run for kind, run in self._runs.items() if kind[0] in events]
        self._runs = {kind: run for kind, run in self._runs.items() if kind[0] not in events}
        if not ended:
            return None
        began = min(run.began for run in ended)
        return Total(self._clock() - began, sum(run.times for run in ended))

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        now = self._clock()
        kind = (event, *(fields.get(name) for name in self._by))
        run = self._runs.get(kind)
        if run is None or now - run.last >= NEW_AFTER_SECONDS:
            self._runs[kind] = _Run(began=now, last=now, logged=now)
            getattr(self._log, level)(event, **fields)
            return
        run.last = now
        run.times += 1
        run.counted += 1
        since = now - run.logged
        if since < run.wait:
            self._log.debug(event, **fields)
            return
        getattr(self._log, level)(event, **fields, again=f"{run.counted} times in {since:.0f} s")
        run.counted, run.logged = 0, now
        run.wait = min(run.wait * GROWTH, LONGEST_SECONDS)
