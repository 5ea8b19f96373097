"""The queue in the database: claim, start, settle, release, recover over PostgREST RPCs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import inf
from typing import Annotated, Any

import structlog
from pydantic import BeforeValidator, TypeAdapter

from realtime_bridge.base import Unreadable
from realtime_bridge.credentials import Redactor
from realtime_bridge.database import Refused, Rpc, Unavailable, shaped
from realtime_bridge.model import TmaEvent
from realtime_bridge.outcomes import (
    Outcome,
)
from realtime_bridge.worker.batching import Coalescer
from realtime_bridge.worker.event_reader import read, rows_of
from realtime_bridge.worker.keyed_claim import KeyedClaim
from realtime_bridge.worker.ports import Claim
from realtime_bridge.worker.settling import Policy, Settlement, settlement

log = structlog.get_logger()

# Rows that a claim lets pass the fence at once: as many as can be rendered and posted in a moment.
START_NOW = 8

_UNREDACTED = Redactor()


def _id(value: Any) -> Any:
    """PostgREST gives a set of scalars as [1, 2], a set of rows as [{"id": 1}, ...]."""
    return value.get("id") if isinstance(value, dict) else value


_IDS: TypeAdapter[set[int]] = TypeAdapter(set[Annotated[int, BeforeValidator(_id)]])
_COUNT = TypeAdapter(int)


AGREE_ON_LIMITS = (
    "give all replicas the same TELEGRAM_RATE, TELEGRAM_CHAT_RATE, TELEGRAM_CHAT_BURST and "
    "TELEGRAM_GROUP_RATE: the limits are for all of them together"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Messages per second for the bot and for a private chat, per minute for a group.

    All replicas together keep them: they are the database's to keep.
    """

    bot_per_second: float = 30.0
    chat_per_second: float = 1.0
    chat_burst: int = 3
    group_per_minute: float = 20.0


class EventQueue:
    """`public.tma_events` as a queue (SQL contract: docs/sql.md)."""

    def __init__(
        self,
        rpc: Rpc,
        *,
        policy: Policy,
        limits: Limits | None = None,
        redact: Redactor = _UNREDACTED,
        digests: Mapping[str, float] | None = None,
        ended: Callable[[str, int], None] = lambda _word, _rows: None,
        limits_differ: Callable[[], None] = lambda: None,
        in_doubt: Callable[[], bool] = lambda: False,
    ) -> None:
        """`limits`: None: no pace. `digests`: for how many seconds rows of a type are gathered.

        `ended` is told of rows that ended without being handed out: as what, and how many.
        `limits_differ` is called when another replica has other limits. While it is `in_doubt()`
        whether anything can be sent, no row passes the fence with its claim.
        """
        self._redact = redact
        self._rpc = rpc
        self._policy = policy
        self._ended = ended
        self._limits_differ = limits_differ
        self._in_doubt = in_doubt
        self._claim = KeyedClaim(rpc, asdict(limits) if limits else None, digests)
        self._starts: Coalescer[TmaEvent, bool] = Coalescer(self._start_all)
        self._settles: Coalescer[Settlement, bool] = Coalescer(self._settle_all)

    async def claim(self, limit: int) -> Claim[TmaEvent]:
        """Take up to `limit` rows that may go now or shortly, at most one of each chat.

        A claim that was not answered is asked again, before anything new is claimed.
        """
        start_now = 0 if self._in_doubt() else min(START_NOW, limit)
        answer, asked_for = await self._claim.ask(limit, start_now)
        if answer.limits_differ:
            self._limits_differ()
        self._count(answer.ended)
        again_in = inf if answer.next_seconds is None else answer.next_seconds
        return Claim(await self._read_all(answer.rows), again_in, asked_for)

    async def recall(self) -> Sequence[TmaEvent]:
        """Ask once more for a claim that was not answered. Only for rows to be handed back."""
        if not self._claim.unanswered:
            return ()
        answer, _ = await self._claim.ask(1, 0)
        return await self._read_all(answer.rows)

    async def _read_all(self, rows: Sequence[Any]) -> Sequence[TmaEvent]:
        """Read claimed rows; those that must not come back for ever end here."""
        events, ended = [], []
        for row in rows:
            match read(row, self._policy.max_attempts):
                case TmaEvent() as event:
                    events.append(event)
                case Settlement() as end:
                    log.error("row_ended", id=end.id, error=end.error)
                    ended.append((end, rows_of(row)))
                case Unreadable(why):  # after its lease it is claimed again
                    log.error("row_without_token", error=why)
        await self._end(ended)
        return events

    def _count(self, ended: Mapping[str, int]) -> None:
        """Tell of the rows that the claim itself has ended, because their chat wants none."""
        if ended:
            log.info("ended_unsent", **ended)
        for word, rows in ended.items():
            self._ended(word, rows)

    async def start(self, event: TmaEvent) -> bool:
        """Pass the fence: True if the row is still ours and may be sent now."""
        return await self._starts.ask(event)

    async def settle(self, event: TmaEvent, outcome: Outcome) -> bool:
        """Write an outcome; False if the row was no longer ours."""
        decided = settlement(event, outcome, self._policy)
        return decided is not None and await self._settles.ask(decided)

    async def release(self, events: Sequence[TmaEvent]) -> None:
        """Hand claims back of which certainly nothing was sent, started or not."""
        if events:
            claims = [claim | {"unsent": True} for claim in _claims(events)]
            await self._rpc.call("release_tma_events", {"p_claims": claims})

    async def purge(self, keep: timedelta, limit: int) -> int:
        """Delete up to `limit` terminal rows older than `keep`; return how many."""
        answer = await self._rpc.call(
            "purge_tma_events", {"p_keep": f"{keep.total_seconds()} seconds", "p_limit": limit}
        )
        return shaped(_COUNT, "purge_tma_events", answer)

    async def _start_all(self, events: Sequence[TmaEvent]) -> Sequence[bool]:
        answer = await self._rpc.call("start_tma_events", {"p_claims": _claims(events)})
        started = shaped(_IDS, "start_tma_events", answer or [])
        return [event.id in started for event in events]

    async def _settle_all(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        try:
            return await self._settle_batch(settlements)
        except Refused as error:
            # The batch is refused as a whole; what is wrong with one must not keep the others.
            # Where it is none of them, all must be kept until it is mended.
            if len(settlements) == 1 or error.of_all:
                raise
        return [await self._settle_alone(one) for one in settlements]

    async def _settle_alone(self, settlement: Settlement) -> bool:
        try:
            return (await self._settle_batch([settlement]))[0]
        except Refused as error:
            log.error("settle_refused", id=settlement.id, error=str(error))
            return False

    async def _settle_batch(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        answer = await self._rpc.call(
            "settle_tma_events", {"p_outcomes": [one.told(self._redact) for one in settlements]}
        )
        settled = shaped(_IDS, "settle_tma_events", answer or [])
        return [one.id in settled for one in settlements]

    async def _end(self, ended: Sequence[tuple[Settlement, int]]) -> None:
        """Settle rows that are not to be sent; if that fails they come back after their lease."""
        asked = (self._settles.ask(one) for one, _ in ended)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for (one, rows), answer in zip(ended, answers, strict=True):
            if isinstance(answer, Unavailable | Refused):
                log.warning("end_failed", id=one.id, error=str(answer))
            elif isinstance(answer, BaseException):
                log.error("end_failed", id=one.id, exc_info=answer)
            elif one.failure:
                self._ended(one.failure, rows)


def _claims(events: Sequence[TmaEvent]) -> list[dict[str, Any]]:
    return [{"id": event.id, "attempt": event.attempt} for event in events]
