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

from realtime_bridge import process, wiring
from realtime_bridge.observe import logs
from realtime_bridge.settings import load

marks: dict[int, dict[str, Any]] = {}


class MarkingWatch(wiring.LaneTelemetry):
    """The bridge's telemetry, recording times."""

    rang: float = 0.0
    source: str = ""

    def woken(self, lane: str, source: str) -> None:
        """Record the first bell since the last claim."""
        if self.rang == 0.0:  # the first bell counts
            self.rang, self.source = time.time(), source
        super().woken(lane, source)

    def claimed(self, lane: str, rows: Any, source: str, begun: float) -> None:
        """Record when rows were claimed."""
        now = time.time()
        if rows:
            for row in rows:
                marks[row.telegram_id] = {"rang": self.rang, "claimed": now, "by": source}
            self.rang = 0.0
        super().claimed(lane, rows, source, begun)

    def settled(self, lane: str, row: Any, outcome: Any, stopwatch: Any, *, held: bool) -> None:
        """Record how long each stage took."""
        laps = dict(stopwatch.milliseconds)
        marks[row.telegram_id] |= {"laps": laps, "settled": time.time()}
        super().settled(lane, row, outcome, stopwatch, held=held)


def main() -> None:
    """Run until SIGTERM."""
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
