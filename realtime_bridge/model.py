"""What travels through the bridge: rows, outcomes, and the protocols between the parts."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat


def _object(value: Any) -> Any:
    """A payload is a JSON object; whatever else a Mini App wrote is kept under one key."""
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"value": value}


class TmaEvent(BaseModel):
    """One claimed row of `public.tma_events`, as `claim_tma_events` returns it.

    `attempt` is the fence token: it grows with every claim, and only its holder may start or
    settle the row. `retries` counts the attempts used up. `waited_seconds` is the time from
    when the row was due until it was claimed, by the database's clock.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    telegram_id: int
    event_type: str
    lead_id: int | None = None
    lead_name: str = "your lead"
    payload: Annotated[dict[str, Any], BeforeValidator(_object)] = {}
    locale: str | None = None
    attempt: int
    retries: int = 0
    created_at: datetime
    deliver_after: datetime
    waited_seconds: FiniteFloat = 0.0


class Recovered(BaseModel):
    """What a sweep found, as `recover_tma_events` returns it.

    `returned` stale rows that were not started and `resent` ones that were (at-least-once) are
    pending again, `uncertain` ones (at-most-once) ended as failed. `next_due_seconds`
    is the time until the next row is due or the next lease ends: 0 for now, None when no row is
    open.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    returned: int = 0
    resent: int = 0
    uncertain: int = 0
    next_due_seconds: FiniteFloat | None = None


class Failure(StrEnum):
    """Why a row ended as failed; the word in its `failure` column."""

    BLOCKED = "blocked"  # the user blocked the bot, is deactivated, or never started it
    CHAT_NOT_FOUND = "chat_not_found"
    REJECTED = "rejected"  # Telegram refused the message itself
    UNCERTAIN = "uncertain"  # it may have been sent; nobody can know
    EXHAUSTED = "exhausted"  # retries used up
    INVALID = "invalid"  # a row the bridge cannot read


@dataclass(frozen=True, slots=True)
class Sent:
    """Telegram accepted the message."""

    message_id: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing was sent; try again in `after` seconds (None: the backoff decides).

    `counted` is false for what is not the row's fault: a pause that Telegram asked for, a
    turn that did not come in time. Such an attempt is not used up.
    """

    why: str
    after: float | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """It will never work: the row ends here."""

    failure: Failure
    error: str


@dataclass(frozen=True, slots=True)
class Uncertain:
    """It may have been sent. The delivery mode decides what that means for the row."""

    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The fence refused: the row is somebody else's now. Nothing was sent or is to be settled."""


@dataclass(frozen=True, slots=True)
class Halted:
    """Nothing can be sent at all: hand the row back and claim no more for `after` seconds.

    Then one row finds out whether it works again. None: for as long as it takes a person to mend.
    """

    why: str
    after: float | None = None


Outcome = Sent | Retry | Failed | Uncertain | Lost | Halted
