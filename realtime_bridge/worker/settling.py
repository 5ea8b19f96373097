"""What an outcome means for its row, as `settle_tma_events` is told."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, assert_never

from realtime_bridge.base import retry_delay
from realtime_bridge.credentials import Redactor
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
from realtime_bridge.worker.claimed import Token


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator chose: the delivery mode, and how many attempts a row has."""

    delivery: Delivery = Delivery.AT_MOST_ONCE
    max_attempts: int = 5


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
    edit_lost: bool | None = None

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
        case Retry(cause=Cause.EDIT_LOST):
            decided = replace(decided, edit_lost=True)
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
        return exhausted(event, policy.max_attempts, retry.why)
    seconds = wait(event.retries) if retry.after is None else retry.after
    return _again(event, retry.why, seconds, counted=True)


def exhausted(event: TmaEvent, attempts: int, why: str) -> Settlement:
    """End a row whose attempts are used up."""
    return _fail(event, Failure.EXHAUSTED, f"{attempts} attempts; last: {why}")


def _fail(event: TmaEvent, failure: Failure, error: str) -> Settlement:
    return Settlement(event.id, event.attempt, "failed", failure=failure, error=error)


def _again(event: TmaEvent, why: str, retry_in: float, *, counted: bool) -> Settlement:
    return Settlement(
        event.id, event.attempt, "pending", error=why, retry_in=retry_in, counted=counted
    )


def invalid(token: Token, what: str) -> Settlement:
    """End a row that the bridge cannot read."""
    why = f"the bridge cannot read: {what}"
    return Settlement(token.id, token.attempt, "failed", failure=Failure.INVALID, error=why)
