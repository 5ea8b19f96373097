"""What the rooms hand each other: claimed rows, what a sweep found, what leads to a claim."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    StrictInt,
)


def _as_object(value: Any) -> Any:
    """A payload is a JSON object; anything else that a Mini App wrote becomes its `value`."""
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"value": value}


Payload = Annotated[dict[str, Any], BeforeValidator(_as_object)]


class SendOptions(BaseModel):
    """How a message is sent; None leaves it to what is behind: events.toml, then Telegram.

    `silent`: without a sound. `thread`: the topic of a group, by its `message_thread_id`.
    `protect`: it can be neither forwarded nor saved. `preview`: links in it are previewed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    silent: StrictBool | None = None
    thread: Annotated[StrictInt, Field(ge=1, lt=2**31)] | None = None
    protect: StrictBool | None = None
    preview: StrictBool | None = None

    def over(self, defaults: "SendOptions") -> "SendOptions":
        """Return these options, with those that are left open taken from `defaults`.

        >>> SendOptions(silent=False).over(SendOptions(silent=True, thread=7))
        SendOptions(silent=False, thread=7, protect=None, preview=None)
        """
        if self == NO_OPTIONS:
            return defaults
        return defaults.model_copy(update=self.model_dump(exclude_none=True))


NO_OPTIONS = SendOptions()


def _known_options(value: Any) -> Any:
    """A database that is newer than this bridge may know more options."""
    if value is None:
        return NO_OPTIONS
    if not isinstance(value, dict):
        return value
    return {name: value[name] for name in SendOptions.model_fields if name in value}


class GatheredEvent(BaseModel):
    """A row that goes with another one of its type, as a part of the same message."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    lead_id: int | None = None
    lead_name: str = "your lead"
    payload: Payload = {}
    created_at: datetime
    deliver_after: datetime


class TmaEvent(BaseModel):
    """One claimed row of `public.tma_events`, as `claim_tma_events` returns it.

    `attempt` is the fence token: it grows with every claim, and only its holder may start or
    settle the row. `retries` counts the attempts used up. `waited_seconds` is the time from when
    the row was due until it was claimed, by the database's clock. `chat_id` is the supergroup that
    the chat has become; None means `telegram_id`. The row may go in `turn_in` seconds, counted
    from the answer on; if `started`, it has passed the fence already. `edits` is the message that
    is to be edited instead of sending a new one. `gathered` are the rows that go with this one as
    one message, in order, without itself: its token stands for all of them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    telegram_id: int
    event_type: str
    lead_id: int | None = None
    lead_name: str = "your lead"
    payload: Payload = {}
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
    options: Annotated[SendOptions, BeforeValidator(_known_options)] = NO_OPTIONS
    edits: Annotated[int, Field(gt=0, lt=2**63)] | None = None
    gathered: tuple[GatheredEvent, ...] = ()

    @property
    def destination(self) -> int:
        """The chat to send to."""
        return self.telegram_id if self.chat_id is None else self.chat_id

    @property
    def waits(self) -> tuple[float, ...]:
        """How long each row of the message waited until it was claimed, this one first."""
        own = max(self.created_at, self.deliver_after)
        others = (max(one.created_at, one.deliver_after) for one in self.gathered)
        return (
            self.waited_seconds,
            *(self.waited_seconds - (due - own).total_seconds() for due in others),
        )


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
