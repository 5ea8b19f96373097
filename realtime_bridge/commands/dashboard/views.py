"""What the page shows, each part as one object that JSON can carry."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, FiniteFloat, TypeAdapter
from typing_extensions import TypedDict

from realtime_bridge.commands.status import look
from realtime_bridge.credentials import Redactor
from realtime_bridge.database import Rpc, shaped
from realtime_bridge.settings import Settings

SHOWN_ROWS = 30
FAILED_SECONDS = 86_400.0
Milliseconds = FiniteFloat | None


class Minute(TypedDict):
    """One minute of the last hour, by tma_event_minutes()."""

    delivered: int
    failed: dict[str, int]
    p50: FiniteFloat | None
    p95: FiniteFloat | None


class Hour(TypedDict):
    """The last hour, by tma_event_minutes()."""

    minutes: Annotated[list[Minute], Field(min_length=60, max_length=60)]
    p50: FiniteFloat | None
    p95: FiniteFloat | None
    last_ten_seconds: int


class Way(TypedDict):
    """A row's way, by tma_event_ways()."""

    id: int
    event_type: str
    status: str
    failure: str | None
    error: str | None
    attempt: int
    due_at: str
    claimed_ms: Milliseconds
    started_ms: Milliseconds
    ended_ms: Milliseconds
    retry_at: str | None
    held_by: str | None
    gathered_into: int | None


class Failures(TypedDict):
    """Rows that failed for one reason with one text, by failed_tma_events()."""

    failure: str
    error: str | None
    events: int
    of_failure: int
    last_at: str
    latest_ids: list[int]


class Waiting(TypedDict):
    """Rows of one type that wait, by waiting_tma_events()."""

    event_type: str
    events: int
    scheduled: int


class KnownReplica(TypedDict):
    """A bridge by what it said at its last sweep, by tma_replicas()."""

    name: str
    version: str
    changes: str | None
    broadcast: str | None
    problem: str | None
    per_second: FiniteFloat | None
    every_seconds: FiniteFloat | None
    seen_seconds: FiniteFloat


class Pace(TypedDict):
    """The pace of the bot, by tma_replicas()."""

    limits: dict[str, FiniteFloat] | None
    limits_differ: bool
    paused_seconds: FiniteFloat
    paused_chats: int


class Replicas(TypedDict):
    """All that tma_replicas() tells."""

    replicas: list[KnownReplica]
    pace: Pace | None


_REPLICAS = TypeAdapter(Replicas)
_HOUR = TypeAdapter(Hour)
_WAYS = TypeAdapter(list[Way])
_FAILURES = TypeAdapter(list[Failures])
_WAITING = TypeAdapter(list[Waiting])
Row = dict[str, Any]
_ROW: TypeAdapter[Row | None] = TypeAdapter(Row | None)


async def state(rpc: Rpc, replicas: Sequence[str]) -> dict[str, Any]:
    """What `status` shows, the bridges that the database knows of, and the bot's pace."""
    seen, answer = await asyncio.gather(look(rpc, replicas), rpc.call("tma_replicas"))
    known = shaped(_REPLICAS, "tma_replicas", answer)
    return {**asdict(seen), "known": known["replicas"], "pace": known["pace"]}


async def hour(rpc: Rpc) -> Hour:
    """How the last hour went, minute by minute."""
    return shaped(_HOUR, "tma_event_minutes", await rpc.call("tma_event_minutes"))


async def ways(rpc: Rpc) -> list[Way]:
    """Rows whose turn is next, and rows that ended last."""
    answer = await rpc.call("tma_event_ways", {"p_limit": SHOWN_ROWS})
    return shaped(_WAYS, "tma_event_ways", answer)


async def failures(rpc: Rpc) -> list[Failures]:
    """Rows that failed lately, by reason and by what Telegram said."""
    answer = await rpc.call("failed_tma_events", {"p_seconds": FAILED_SECONDS})
    return shaped(_FAILURES, "failed_tma_events", answer)


async def waiting(rpc: Rpc) -> list[Waiting]:
    """What waits, by type."""
    return shaped(_WAITING, "waiting_tma_events", await rpc.call("waiting_tma_events"))


async def details(rpc: Rpc, row: int) -> Row | None:
    """All of a row but what is the user's; None if there is no such row."""
    answer = await rpc.call("tma_event_details", {"p_id": row})
    return shaped(_ROW, "tma_event_details", answer)


async def content(rpc: Rpc, row: int) -> Row | None:
    """What of a row is the user's: chat, lead and payload."""
    answer = await rpc.call("tma_event_content", {"p_id": row})
    return shaped(_ROW, "tma_event_content", answer)


def about(settings: Settings, version: str) -> dict[str, Any]:
    """What is looked at."""
    return {
        "version": version,
        "project": urlsplit(settings.supabase_url).hostname,
        "delivery": settings.delivery.value,
    }


def without_secrets(value: Any, redact: Redactor) -> Any:
    """Redact every text in a JSON value; done before it is written, as escapes may hide a piece.

    >>> without_secrets({"error": ["the key sb_secret_Zq3vX8kLm2Pw"]}, Redactor())
    {'error': ['the key [secret]']}
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(name)): without_secrets(inner, redact) for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [without_secrets(inner, redact) for inner in value]
    return value
