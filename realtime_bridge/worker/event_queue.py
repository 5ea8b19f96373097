"""The queue in the database: claim, start, settle, release, recover over PostgREST RPCs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from math import inf
from typing import Annotated, Any, Literal, assert_never

import structlog
from pydantic import BeforeValidator, TypeAdapter, ValidationError

from realtime_bridge.base import Unreadable, decode, retry_delay
from realtime_bridge.credentials import Redactor
from realtime_bridge.database import Refused, Rpc, Unavailable, shaped
from realtime_bridge.model import TmaEvent
from realtime_bridge.outcomes import (
    Cause,
    Failed,
    Failure,
    Halted,
    Lost,
    Outcome,
    Retry,
    Sent,
    Uncertain,
)
from realtime_bridge.settings import Delivery
from realtime_bridge.worker.batching import Coalescer
from realtime_bridge.worker.claimed import Token, token_of, wrong_fields
from realtime_bridge.worker.keyed_claim import KeyedClaim
from realtime_bridge.worker.ports import Claim

log = structlog.get_logger()

# Rows that a claim lets pass the fence at once: as many as can be rendered and posted in a moment.
START_NOW = 8

_UNREDACTED = Redactor()


def _id(value: Any) -> Any:
    """PostgREST gives a set of scalars as [1, 2], a set of rows as [{"id": 1}, ...]."""
    return value.get("id") if isinstance(value, dict) else value


_IDS: TypeAdapter[set[int]] = TypeAdapter(set[Annotated[int, BeforeValidator(_id)]])
_COUNT = TypeAdapter(int)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator chose: the delivery mode, and how many attempts a row has."""

    delivery: Delivery = Delivery.AT_MOST_ONCE
    max_attempts: int = 5


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


@dataclass(frozen=True, slots=True)
class Settlement:
    """One entry of `settle_tma_events(p_outcomes)`; `retry_in` and `pause` are in seconds."""

    id: int
    attempt: int
    status: Literal["delivered", "failed", "pending"]
    message_id: int | None = None
    failure: Failure | None = None
    error: str | None = None
    retry_in: float | None = None
    counted: bool = False
    pause: float | None = None
    moved_to: int | None = None

    def told(self, redact: Redactor) -> dict[str, Any]:
        """What is said about it: a null is as good as nothing. Users may read the error."""
        fields = ((name, getattr(self, name)) for name in self.__slots__)
        told = {name: value for name, value in fields if value is not None}
        return told if self.error is None else told | {"error": redact.public(self.error)}


def settlement(
    event: TmaEvent,
    outcome: Outcome,
    policy: Policy,
    wait: Callable[[int], float] = retry_delay,
) -> Settlement | None:
    """Decide what an outcome means for its row and its chat; None where the row is not ours."""
    decided = _for_the_row(event, outcome, policy, wait)
    if decided is None:
        return None
    match outcome:
        case Retry(after=float(pause), cause=Cause.TELEGRAM_PAUSE):
            decided = replace(decided, pause=pause)
        case _:
            pass
    moved_to = getattr(outcome, "moved_to", None)
    return decided if moved_to is None else replace(decided, moved_to=moved_to)


def _for_the_row(
    event: TmaEvent, outcome: Outcome, policy: Policy, wait: Callable[[int], float]
) -> Settlement | None:
    match outcome:
        case Sent(message_id):
            return Settlement(event.id, event.attempt, "delivered", message_id=message_id)
        case Failed(failure, error):
            return _fail(event, failure, error)
        case Retry(why, after, counted=False):
            return _again(event, why, after or 0.0, counted=False)
        case Halted(why):
            return _again(event, why, 0.0, counted=False)
        case Uncertain(why) if policy.delivery is Delivery.AT_MOST_ONCE:
            return _fail(event, Failure.UNCERTAIN, why)
        case Uncertain(why):
            return _try_again(
                event, Retry(f"may have been sent: {why}", cause=Cause.UNCERTAIN), policy, wait
            )
        case Retry():
            return _try_again(event, outcome, policy, wait)
        case Lost():
            return None
        case _:
            assert_never(outcome)


def _try_again(
    event: TmaEvent, retry: Retry, policy: Policy, wait: Callable[[int], float]
) -> Settlement:
    if event.retries + 1 >= policy.max_attempts:
        return _exhausted(event, policy.max_attempts, retry.why)
    seconds = wait(event.retries) if retry.after is None else retry.after
    return _again(event, retry.why, seconds, counted=True)


def _exhausted(event: TmaEvent, attempts: int, why: str) -> Settlement:
    return _fail(event, Failure.EXHAUSTED, f"{attempts} attempts; last: {why}")


def _fail(event: TmaEvent, failure: Failure, error: str) -> Settlement:
    return Settlement(event.id, event.attempt, "failed", failure=failure, error=error)


def _again(event: TmaEvent, why: str, retry_in: float, *, counted: bool) -> Settlement:
    return Settlement(
        event.id, event.attempt, "pending", error=why, retry_in=retry_in, counted=counted
    )


class EventQueue:
    """`public.tma_events` as a queue (SQL contract: docs/sql.md)."""

    def __init__(
        self,
        rpc: Rpc,
        *,
        policy: Policy,
        limits: Limits | None = None,
        redact: Redactor = _UNREDACTED,
        ended: Callable[[Failure], None] = lambda _: None,
        limits_differ: Callable[[], None] = lambda: None,
        in_doubt: Callable[[], bool] = lambda: False,
    ) -> None:
        """`limits`: None: no pace. `ended` is told of rows that failed without being handed out.

        `limits_differ` is called when another replica has other limits. While it is `in_doubt()`
        whether anything can be sent, no row passes the fence with its claim.
        """
        self._redact = redact
        self._rpc = rpc
        self._policy = policy
        self._ended = ended
        self._limits_differ = limits_differ
        self._in_doubt = in_doubt
        self._claim = KeyedClaim(rpc, asdict(limits) if limits else None)
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
                    ended.append(end)
                case Unreadable(why):  # after its lease it is claimed again
                    log.error("row_without_token", error=why)
        await self._end(ended)
        return events

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

    async def _end(self, settlements: Sequence[Settlement]) -> None:
        """Settle rows that are not to be sent; if that fails they come back after their lease."""
        asked = (self._settles.ask(one) for one in settlements)
        for one, answer in zip(
            settlements, await asyncio.gather(*asked, return_exceptions=True), strict=True
        ):
            if isinstance(answer, Unavailable | Refused):
                log.warning("end_failed", id=one.id, error=str(answer))
            elif isinstance(answer, BaseException):
                log.error("end_failed", id=one.id, exc_info=answer)
            elif one.failure:
                self._ended(one.failure)


def read(row: Any, max_attempts: int) -> TmaEvent | Settlement | Unreadable:
    """Read a claimed row; one that must not come back for ever ends here, with the reason.

    Unreadable is one of which not even that can be told.
    """
    token = token_of(row)
    if isinstance(token, Unreadable):
        return token
    payload = decode(row.get("payload"))
    if isinstance(payload, Unreadable):
        return _invalid(token, f"payload ({payload.why})")
    try:
        event = TmaEvent.model_validate({**row, "payload": payload})
    except ValidationError as error:
        return _invalid(token, wrong_fields(error))
    if event.retries >= max_attempts:  # only recovering counts so far: workers died of it
        return _exhausted(event, max_attempts, "the worker that had claimed it went away")
    return event


def _invalid(token: Token, what: str) -> Settlement:
    why = f"the bridge cannot read: {what}"
    return Settlement(token.id, token.attempt, "failed", failure=Failure.INVALID, error=why)


def _claims(events: Sequence[TmaEvent]) -> list[dict[str, Any]]:
    return [{"id": event.id, "attempt": event.attempt} for event in events]
