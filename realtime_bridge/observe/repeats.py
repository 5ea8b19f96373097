"""Lines that come again and again: said once, then counted."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FIRST_COUNT_SECONDS = 60.0
GROWTH = 2.0
LONGEST_SECONDS = 3600.0
# What comes again after so long is news.
NEWS_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Total:
    """What came to an end: how long it lasted, and how many lines there were of it."""

    seconds: float
    times: int


@dataclass
class _Run:
    """Lines of one kind; moments by the clock."""

    began: float
    last: float
    told: float
    times: int = 1
    untold: int = 0  # lines since it was told
    wait: float = FIRST_COUNT_SECONDS


class Repeats:
    """A log that says the first line of a kind at once, and counts its like from then on.

    After a minute one line tells how many there were ("again": "40 times in 60 s"), with what the
    latest of them said; then after two minutes more, after four, and so on. Each line is there at
    the level debug. The kind is the name of the event, whatever the text: one outage has many.
    """

    def __init__(
        self, log: Any, *, by: tuple[str, ...] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`by` names fields that tell kinds apart, of few values each."""
        self._log = log
        self._by = by
        self._clock = clock
        self._runs: dict[tuple[Any, ...], _Run] = {}

    def info(self, event: str, **fields: Any) -> None:
        """Say or count what is as it should be."""
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Say or count what should be looked at."""
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Say or count what must be mended."""
        self._say("error", event, fields)

    def over(self, *events: str) -> Total | None:
        """Return how it was, if any of these was said; the next line of them is news."""
        ended = [run for kind, run in self._runs.items() if kind[0] in events]
        self._runs = {kind: run for kind, run in self._runs.items() if kind[0] not in events}
        if not ended:
            return None
        began = min(run.began for run in ended)
        return Total(self._clock() - began, sum(run.times for run in ended))

    def _say(self, level: str, event: str, fields: dict[str, Any]) -> None:
        now = self._clock()
        kind = (event, *(fields.get(name) for name in self._by))
        run = self._runs.get(kind)
        if run is None or now - run.last >= NEWS_SECONDS:
            self._runs[kind] = _Run(began=now, last=now, told=now)
            getattr(self._log, level)(event, **fields)
            return
        run.last = now
        run.times += 1
        run.untold += 1
        since = now - run.told
        if since < run.wait:
            self._log.debug(event, **fields)
            return
        getattr(self._log, level)(event, **fields, again=f"{run.untold} times in {since:.0f} s")
        run.untold, run.told = 0, now
        run.wait = min(run.wait * GROWTH, LONGEST_SECONDS)
