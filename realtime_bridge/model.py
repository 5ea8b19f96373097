"""What the rooms hand each other: claimed rows, what a sweep found, what leads to a claim."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat


def _as_object(value: Any) -> Any:
    """A payload is a JSON object; anything else that a Mini App wrote becomes its `value`."""
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"value": value}


class TmaEvent(BaseModel):
    """One claimed row of `public.tma_events`, as `claim_tma_events` returns it.

    `attempt` is the fence token: it grows with every claim, and only its holder may start or
    settle the row. `retries` counts the attempts used up. `waited_seconds` is the time from when
    the row was due until it was claimed, by the database's clock. `chat_id` is the supergroup that
    the chat has become; None means `telegram_id`. The row may go in `turn_in` seconds, counted
    from the answer on; if `started`, it has passed the fence already.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    telegram_id: int
    event_type: str
    lead_id: int | None = None
    lead_name: str = "your lead"
    payload: Annotated[dict[str, Any], BeforeValidator(_as_object)] = {}
    locale: str | None = None
    attempt: int
    retries: int = 0
    created_at: datetime
    deliver_after: datetime
    waited_seconds: FiniteFloat = 0.0
    chat_id: int | None = None
    priority: int = 0
    turn_in: FiniteFloat = 0.0
    started: bool = False

    @property
    def destination(self) -> int:
        """The chat to send to."""
        return self.telegram_id if self.chat_id is None else self.chat_id


class Recovered(BaseModel):
    """What a sweep found, as `recover_tma_events` returns it.

    Of the rows whose lease is over, those that were not started are pending again (`returned`).
    Those that were are pending again too (`resent`, at-least-once) or failed (`uncertain`,
    at-most-once). `next_due_seconds` is the time until the next row is due or the next lease ends:
    0 for now, None if no row is open.
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
    READY = "ready"  # a bell can be heard from now on: it missed what came before
    DUE = "due"  # a row that was waiting for its time
    SETTLED = "settled"  # a row was settled: its slot is free, and the next row of its chat may go
    BACKLOG = "backlog"  # a sweep found rows that waited behind others
    SWEEP = "sweep"  # a sweep found rows although the lane was idle
    BACK = "back"  # the queue answers again

    @property
    def is_a_bell(self) -> bool:
        """Whether an insert led to it."""
        return self in (Wake.CHANGES, Wake.BROADCAST)
