"""`realtime-bridge tail`: rows as they end."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from realtime_bridge.keys import Keys, trial_at
from realtime_bridge.rpc import Refused, Rpc, Unavailable
from realtime_bridge.settings import Settings

PAUSE_SECONDS = 1.0
# A row is seen when its transaction ends, but carries the time at which that began.
OVERLAP_SECONDS = 10.0

Row = Mapping[str, Any]


class Window:
    """Tells which rows are new, where each look goes back a little further than the last one."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def new(self, rows: list[Row]) -> list[Row]:
        """Return those of a look's rows that the look before did not have.

        >>> window, one, two = Window(), {"id": 1, "attempt": 1}, {"id": 2, "attempt": 1}
        >>> window.new([one]) == [one], window.new([one, two]) == [two]
        (True, True)
        """
        before, self._seen = self._seen, {(row["id"], row["attempt"]) for row in rows}
        return [row for row in rows if (row["id"], row["attempt"]) not in before]


async def run_tail(
    settings: Settings,
    seconds: float,
    *,
    follow: bool,
    as_json: bool,
    echo: Callable[[str], None],
) -> int:
    """Show rows that ended in the last `seconds`, then, if `follow`, each as it ends.

    Returns the exit code. A database that is away is waited for.
    """
    show = _json if as_json else text_of
    window = Window()
    looked_at = time.monotonic()
    keys = Keys(settings, trial_at(settings.supabase_url))
    async with Rpc(settings.supabase_url, keys.current, keys.replace) as rpc:
        while True:
            asked_at = time.monotonic()
            try:
                rows = await rpc.call("recent_tma_events", {"p_seconds": seconds})
            except Refused as error:
                echo(str(error))
                return 1
            except Unavailable as error:
                if not follow:
                    echo(str(error))
                    return 1
            else:
                looked_at = asked_at
                for row in window.new(rows):
                    echo(show(row))
            if not follow:
                return 0
            await asyncio.sleep(PAUSE_SECONDS)
            seconds = time.monotonic() - looked_at + OVERLAP_SECONDS


def text_of(row: Row) -> str:
    """One row as a line, in this machine's time."""
    at = datetime.fromisoformat(row["settled_at"]).astimezone()
    attempts = "" if row["attempt"] == 1 else f", attempt {row['attempt']}"
    outcome = f"{row['status']} after {row['took_seconds']:.2f} s{attempts}"
    why = f": {row['failure']}, {row['error']}" if row["failure"] else ""
    return f"{at:%H:%M:%S}  {row['id']}  {row['event_type']}  {outcome}{why}"


def _json(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)
