"""The queue in the database: claim, start, settle, release, recover over PostgREST RPCs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
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
from realtime_bridge.worker.claimed import ROWS, Token, token_of, wrong_fields

log = structlog.get_logger()

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


@dataclass(frozen=True, slots=True)
class Settlement:
    """One entry of `settle_tma_events(p_outcomes)`; `retry_in` is in seconds."""

    id: int
    attempt: int
    status: Literal["delivered", "failed", "pending"]
    message_id: int | None = None
    failure: Failure | None = None
    error: str | None = None
    retry_in: float | None = None
    counted: bool = False

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
    """Decide what an outcome means for its row; None where the row is no longer ours."""
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
        redact: Redactor = _UNREDACTED,
        ended: Callable[[Failure], None] = lambda _: None,
    ) -> None:
        """`ended` is told of rows that failed without being handed out."""
        self._redact = redact
        self._rpc = rpc
        self._policy = policy
        self._ended = ended
        self._starts: Coalescer[TmaEvent, bool] = Coalescer(self._start_all)
        self._settles: Coalescer[Settlement, bool] = Coalescer(self._settle_all)

    async def claim(self, limit: int) -> Sequence[TmaEvent]:
        """Take up to `limit` due rows, oldest first, at most one of each chat."""
        answer = await self._rpc.call("claim_tma_events", {"p_limit": limit})
        events, ended = [], []
        for row in shaped(ROWS, "claim_tma_events", answer):
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
        """Hand claims back that were not started."""
        if events:
            await self._rpc.call("release_tma_events", {"p_claims": _claims(events)})

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


def _claims(events: Sequence[TmaEvent]) -> list[dict[str, int]]:
    return [{"id": event.id, "attempt": event.attempt} for event in events]
