"""The queue in the database: claim, start, settle, release, recover over PostgREST RPCs."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal, assert_never

import structlog
from pydantic import ValidationError

from realtime_bridge.backoff import backoff
from realtime_bridge.coalesce import Coalescer
from realtime_bridge.model import (
    Failed,
    Failure,
    Halted,
    Lost,
    Outcome,
    Recovered,
    Retry,
    Sent,
    TmaEvent,
    Uncertain,
)
from realtime_bridge.rpc import Rpc
from realtime_bridge.settings import Delivery

log = structlog.get_logger()


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


def settlement(
    event: TmaEvent,
    outcome: Outcome,
    policy: Policy,
    wait: Callable[[int], float] = backoff,
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
        case Retry(why) | Uncertain(why) if event.retries + 1 >= policy.max_attempts:
            return _fail(event, Failure.EXHAUSTED, f"{policy.max_attempts} attempts; last: {why}")
        case Retry(why, after):
            seconds = wait(event.retries) if after is None else after
            return _again(event, why, seconds, counted=True)
        case Uncertain(why):
            return _again(event, f"may have been sent: {why}", wait(event.retries), counted=True)
        case Lost():
            return None
        case _:
            assert_never(outcome)


def _fail(event: TmaEvent, failure: Failure, error: str) -> Settlement:
    return Settlement(event.id, event.attempt, "failed", failure=failure, error=error)


def _again(event: TmaEvent, why: str, retry_in: float, *, counted: bool) -> Settlement:
    return Settlement(
        event.id, event.attempt, "pending", error=why, retry_in=retry_in, counted=counted
    )


class EventQueue:
    """`public.tma_events` as a queue (SQL contract: docs/sql.md)."""

    def __init__(self, rpc: Rpc, *, lease: float, policy: Policy) -> None:
        self._rpc = rpc
        self._lease = lease
        self._policy = policy
        self._starts: Coalescer[TmaEvent, bool] = Coalescer(self._start_all)
        self._settles: Coalescer[Settlement, bool] = Coalescer(self._settle_all)

    async def claim(self, limit: int) -> Sequence[TmaEvent]:
        """Take up to `limit` due rows, oldest first, at most one of each chat."""
        rows = await self._rpc.call("claim_tma_events", {"p_limit": limit})
        events = []
        for row in rows:
            try:
                events.append(TmaEvent.model_validate(row))
            except ValidationError as error:
                await self._refuse_row(row, error)
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

    async def recover(self) -> Recovered:
        """Take back rows whose lease is over, and tell when the next row is due."""
        answer = await self._rpc.call(
            "recover_tma_events",
            {
                "p_lease": f"{self._lease} seconds",
                "p_resend_uncertain": self._policy.delivery is Delivery.AT_LEAST_ONCE,
            },
        )
        return Recovered.model_validate(answer[0] if isinstance(answer, list) else answer)

    async def purge(self, keep: timedelta, limit: int) -> int:
        """Delete up to `limit` terminal rows older than `keep`; return how many."""
        return int(
            await self._rpc.call(
                "purge_tma_events",
                {"p_keep": f"{keep.total_seconds()} seconds", "p_limit": limit},
            )
        )

    async def _start_all(self, events: Sequence[TmaEvent]) -> Sequence[bool]:
        answer = await self._rpc.call("start_tma_events", {"p_claims": _claims(events)})
        started = set(_ids(answer))
        return [event.id in started for event in events]

    async def _settle_all(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        answer = await self._rpc.call(
            "settle_tma_events", {"p_outcomes": [asdict(one) for one in settlements]}
        )
        settled = set(_ids(answer))
        return [one.id in settled for one in settlements]

    async def _refuse_row(self, row: dict[str, Any], error: ValidationError) -> None:
        """A row that cannot be read must not come back for ever: it ends here, with the reason."""
        fields = ", ".join(str(detail["loc"][0]) for detail in error.errors() if detail["loc"])
        log.error("row_invalid", id=row.get("id"), fields=fields)
        outcome = Settlement(
            row["id"],
            row["attempt"],
            "failed",
            failure=Failure.INVALID,
            error=f"the bridge cannot read: {fields}",
        )
        await self._settles.ask(outcome)


def _claims(events: Sequence[TmaEvent]) -> list[dict[str, int]]:
    return [{"id": event.id, "attempt": event.attempt} for event in events]


def _ids(answer: Any) -> list[int]:
    """PostgREST gives a set of scalars as [1, 2], a set of rows as [{"id": 1}, ...]."""
    return [row["id"] if isinstance(row, dict) else row for row in answer or []]
