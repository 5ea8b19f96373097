"""A request, and what may become of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FiniteFloat,
)

from realtime_bridge.messages import timezone
from realtime_bridge.outcomes import Retry


def _object(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


Object = Annotated[dict[str, Any], BeforeValidator(_object)]


class Request(BaseModel):
    """One claimed row of a request table, with all its columns.

    `attempt` is the token for settling; `retries` counts the attempts used up. `lead` is what
    the database tells of the lead, if the writer of the row may see it (`lead_visible`): look up
    nothing of a lead that he may not see. `payload` is what the Mini App told. `claimed_at` is the
    present, by the database's clock; `waited_seconds` the time from the insert until then.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: int
    telegram_id: int
    lead_id: int | None = None
    lead_name: str = "your lead"
    lead_visible: bool = False
    lead: Object = {}
    payload: Object = {}
    locale: str | None = None
    attempt: int
    retries: int = 0
    created_at: datetime
    claimed_at: datetime
    waited_seconds: FiniteFloat = 0.0

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that are the table's own, by name."""
        return self.model_extra or {}

    @property
    def about(self) -> dict[str, Any]:
        """What messages need of the payload: put it into the payload of events."""
        kept = ("lead_name", "timezone", "tz")
        return {name: self.payload[name] for name in kept if name in self.payload}

    @property
    def timezone(self) -> tzinfo:
        """The user's: the payload's `timezone` or `tz`; UTC if it has none that is known."""
        return timezone(str(self.payload.get("timezone") or self.payload.get("tz") or ""))

    @property
    def today(self) -> date:
        """The day it is for the user."""
        return self.claimed_at.astimezone(self.timezone).date()


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event for the request's chat and lead, written together with the answer.

    It is sent at once, or at `deliver_after`. One whose `dedupe_key` the chat has seen is left
    out.
    """

    event_type: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    deliver_after: datetime | None = None
    dedupe_key: str | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """The answer, any JSON value but null, and what to tell the chat.

    `withdraw` names a type of event: what of it still waits for this chat and lead is deleted
    first.
    """

    result: Any
    events: Sequence[NewEvent] = ()
    withdraw: str | None = None
    word: ClassVar = "completed"


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """There will be no answer; `error` is a sentence for the user."""

    error: str
    events: Sequence[NewEvent] = ()
    word: ClassVar = "failed"


RequestOutcome: TypeAlias = Completed | FailedRequest | Retry


def storable(value: Any) -> Any:
    r"""Copy a JSON value as the database takes it: without NUL characters and lone surrogates.

    Raises TypeError, ValueError or RecursionError for what is no JSON value.

    >>> storable({"a\x00": ["b\ud800", 1.5, None]})
    {'a': ['b?', 1.5, None]}
    """
    return _clean(json.loads(json.dumps(value, allow_nan=False)))


def _clean(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\x00", "").encode("utf-8", "replace").decode()
        case list():
            return [_clean(item) for item in value]
        case dict():
            return {_clean(key): _clean(item) for key, item in value.items()}
        case _:
            return value
