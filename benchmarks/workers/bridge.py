"""The bridge with rate limits lifted and, on request, a record of each row's stages.

LIFTED=1 lifts the limits, so that claims are not paced (settings stop at 1,000 messages/s, the
highest that Telegram sells);
MARKS names a file for {chat: {stage: seconds since 1970}}, which is written at the end.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.workers.trust import trust
from realtime_bridge import process, wiring
from realtime_bridge.observe import logs
from realtime_bridge.settings import load

marks: dict[int, dict[str, Any]] = {}


class MarkingWatch(wiring.LaneTelemetry):
    """The bridge's telemetry, recording times."""

    def __init__(self, *told: Any, **more: Any) -> None:
        super().__init__(*told, **more)
        self._rings: list[float] = []
        self._begun = 0.0

    def woken(self, lane: str, source: str) -> None:
        """Record a bell."""
        self._rings.append(time.monotonic())
        super().woken(lane, source)

    def claimed(self, lane: str, rows: Any, source: str, begun: float) -> None:
        """Record when rows were claimed, and the last bell before this claim."""
        now, to_wall = time.time(), time.time() - time.monotonic()
        rang = max((at for at in self._rings if self._begun < at <= begun), default=None)
        for row in rows:
            marks[row.telegram_id] = {
                "rang": 0.0 if rang is None else rang + to_wall,
                "claimed": now,
                "by": source,
            }
        self._begun = begun
        self._rings = [at for at in self._rings if at > begun]
        super().claimed(lane, rows, source, begun)

    def settled(self, lane: str, row: Any, outcome: Any, stopwatch: Any, *, held: bool) -> None:
        """Record how long each stage took."""
        laps = dict(stopwatch.milliseconds)
        marks[row.telegram_id] |= {"laps": laps, "settled": time.time()}
        super().settled(lane, row, outcome, stopwatch, held=held)


def main() -> None:
    """Run until SIGTERM."""
    trust()
    settings = load()
    if os.environ.get("LIFTED"):
        wiring.limits_of = lambda _: None  # type: ignore[assignment, return-value]
    logs.configure_logging(settings.log_level, settings.log_format, redact=settings.redact)
    file = os.environ.get("MARKS")
    if file:
        wiring.LaneTelemetry = MarkingWatch  # type: ignore[misc]
    try:
        asyncio.run(process.run_until_signal(settings))
    finally:
        if file:
            Path(file).write_text(json.dumps(marks))


if __name__ == "__main__":
    main()
