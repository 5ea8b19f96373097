"""When each row reached which state, from the database and the Bot API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg.rows import DictRow, dict_row

from tma_sandbox.botapi.sent import SentMessage, SentMessages
from tma_sandbox.stack import LocalStack

# How many messages are searched for those of the newest rows.
_RECENT_MESSAGES = 1000

_LATEST = """
select id, event_type, status, attempt, message_id, failure,
    payload ->> 'lead_name' as lead_name,
    extract(epoch from created_at)::float as inserted,
    extract(epoch from claimed_at - created_at)::float * 1000 as claimed_ms,
    extract(epoch from send_started_at - created_at)::float * 1000 as fence_ms,
    extract(epoch from delivered_at - created_at)::float * 1000 as delivered_ms
from public.tma_events order by id desc limit %s
"""

_TOTALS = "select status::text, count(*) from public.tma_events group by status"


@dataclass(frozen=True, slots=True)
class Timeline:
    """One event so far; times are in milliseconds since its insert, None if not reached yet."""

    id: int
    event_type: str
    lead_name: str | None
    status: str
    failure: str | None
    attempt: int
    inserted: float  # unix seconds
    claimed_ms: float | None
    fence_ms: float | None
    sent_ms: float | None
    delivered_ms: float | None
    text: str  # what the user reads; empty until it is sent


class Timelines:
    """Reads the timelines of one stack's rows."""

    def __init__(self, connection: psycopg.AsyncConnection[DictRow], outbox: SentMessages) -> None:
        self._connection = connection
        self._outbox = outbox

    @classmethod
    @asynccontextmanager
    async def of(cls, stack: LocalStack) -> AsyncIterator[Self]:
        """Connect to a running stack as its project's owner while the context lasts."""
        async with await psycopg.AsyncConnection.connect(
            stack.env()["DATABASE_URL"], autocommit=True, row_factory=dict_row
        ) as connection:
            yield cls(connection, stack.bot_api.sent)

    async def latest(self, count: int) -> list[Timeline]:
        """The `count` newest rows, oldest first."""
        rows = await (await self._connection.execute(_LATEST, (count,))).fetchall()
        recent = self._outbox.after(self._outbox.count - _RECENT_MESSAGES)
        sent = {message["message_id"]: message for message in recent}
        return [_timeline(row, sent.get(row["message_id"])) for row in reversed(rows)]

    async def totals(self) -> dict[str, int]:
        """The number of rows in each status."""
        rows = await (await self._connection.execute(_TOTALS)).fetchall()
        return {row["status"]: row["count"] for row in rows}


def _timeline(row: dict[str, Any], message: SentMessage | None) -> Timeline:
    known = {name: value for name, value in row.items() if name != "message_id"}
    if message is None:
        return Timeline(**known, sent_ms=None, text="")
    at, text = _told(message, until=row["inserted"] + row["delivered_ms"] / 1000)
    return Timeline(**known, sent_ms=(at - row["inserted"]) * 1000, text=text)


def _told(message: SentMessage, until: float) -> tuple[float, str]:
    """When a message got the text that it had then, and that text: it may have been edited."""
    versions = [(before["at"], before["text"]) for before in message["history"]]
    versions.append((message["edited_at"] or message["received_at"], message["text"]))
    return next((one for one in reversed(versions) if one[0] <= until), versions[0])
