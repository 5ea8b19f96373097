"""What travels through the bridge: claimed rows, what a sweep found, what leads to a claim."""

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
    when the row was due until it was claimed, by the database's clock. `chat_id` is where to send:
    the supergroup that the chat has become, else `telegram_id`. The row may go in `turn_in`
    seconds, counted from the answer on; where `started`, it has passed the fence already.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    telegram_id: int
    chat_id: int
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
    priority: int = 0
    turn_in: FiniteFloat = 0.0
    started: bool = False


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


class Wake(StrEnum):
    """What leads to a claim."""

    START = "start"
    CHANGES = "changes"  # a bell: a row was inserted
    BROADCAST = "broadcast"  # the other bell
    READY = "ready"  # a bell can be heard from now on: rows may have come before
    DUE = "due"  # a row that was known of is due
    SETTLED = "settled"  # a row ended: there is a free slot, and the next of its chat may go
    BACKLOG = "backlog"  # a sweep found rows that wait for others to be sent
    SWEEP = "sweep"  # a sweep found rows although the lane had nothing to do
    BACK = "back"  # the queue did not answer before

    @property
    def is_a_bell(self) -> bool:
        """Whether an insert led to it."""
        return self in (Wake.CHANGES, Wake.BROADCAST)
