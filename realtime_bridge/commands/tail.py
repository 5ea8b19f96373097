"""`realtime-bridge tail`: rows as they end."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, FiniteFloat, TypeAdapter
from typing_extensions import TypedDict

from realtime_bridge.commands.advice import advice
from realtime_bridge.database import Refused, Unavailable, renewing_rpc, shaped
from realtime_bridge.messages import one_line
from realtime_bridge.settings import Settings

PAUSE_SECONDS = 1.0
# A row is seen when its transaction ends, but carries the time at which that began.
OVERLAP_SECONDS = 10.0


def _moment(text: str) -> str:
    datetime.fromisoformat(text).astimezone()
    return text


class Row(TypedDict):
    """A row that ended, by recent_tma_events()."""

    id: int
    attempt: int
    event_type: str
    status: str
    failure: str | None
    error: str | None
    message_id: int | None
    settled_at: Annotated[str, AfterValidator(_moment)]
    took_seconds: FiniteFloat


_ROWS = TypeAdapter(list[Row])


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


class Absence:
    """Says once that the database is away, and once that it is back."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._since: float | None = None

    def begins(self, why: str) -> None:
        """It did not answer."""
        if self._since is None:
            self._since = time.monotonic()
            self._warn(f"{why}\nWaiting for it; rows that end meanwhile are shown then.")

    def ends(self) -> None:
        """It answered."""
        if self._since is not None:
            self._warn(f"Supabase answers again, after {time.monotonic() - self._since:.0f} s.")
            self._since = None


async def run_tail(
    settings: Settings,
    seconds: float,
    *,
    follow: bool,
    as_json: bool,
    echo: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Show rows that ended in the last `seconds`, then, if `follow`, each as it ends.

    Returns the exit code. A database that is away is waited for, and `warn` is told.
    """
    show = _json if as_json else text_of
    echo, warn = settings.redact.before(echo), settings.redact.before(warn)
    window, absence = Window(), Absence(warn)
    looked_at = time.monotonic()
    async with renewing_rpc(settings) as rpc:
        while True:
            asked_at = time.monotonic()
            try:
                answer = await rpc.call("recent_tma_events", {"p_seconds": seconds})
                rows = shaped(_ROWS, "recent_tma_events", answer)
            except (Unavailable, Refused) as error:
                why = advice(error, settings)
                if isinstance(error, Refused) or not follow:
                    warn(why)
                    return 1
                absence.begins(why)
            else:
                absence.ends()
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
    attempts = "" if row["attempt"] <= 1 else f", attempt {row['attempt']}"
    outcome = f"{row['status']} after {row['took_seconds']:.2f} s{attempts}"
    reasons = [reason for reason in (row["failure"], row["error"]) if reason]
    why = f": {', '.join(reasons)}" if reasons and row["status"] != "delivered" else ""
    # Users write types, and servers errors: neither may steer the terminal.
    told = one_line(f"{outcome}{why}")
    return f"{at:%H:%M:%S}  {row['id']}  {one_line(row['event_type'])}  {told}"


def _json(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)
