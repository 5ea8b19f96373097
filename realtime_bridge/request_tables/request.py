"""A request and its possible outcomes."""

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat, PrivateAttr

from realtime_bridge.messages import timezone
from realtime_bridge.outcomes import Retry
from realtime_bridge.request_tables.progress import Progress


def _object_or_empty(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


_JsonObject = Annotated[dict[str, Any], BeforeValidator(_object_or_empty)]


class Request(BaseModel):
    """One claimed row of a request table, with all its columns.

    `attempt` is the fence token; `retries` counts the attempts used up. `lead` is what the database
    knows about the lead if the user may see that lead (`lead_visible`); if not, do not look it up
    yourself either. `payload` is what the Mini App sent. `claimed_at` is now, by the database's
    clock; `waited_seconds` is the time from the insert until then.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: int
    telegram_id: int
    lead_id: int | None = None
    lead_name: str = "your lead"
    lead_visible: bool = False
    lead: _JsonObject = {}
    payload: _JsonObject = {}
    locale: str | None = None
    attempt: int
    retries: int = 0
    created_at: datetime
    claimed_at: datetime
    waited_seconds: FiniteFloat = 0.0

    _progress: Progress | None = PrivateAttr(None)

    def progress(self, text: str) -> "Reported":
        """Tell the chat how far the answer has got, in one message that changes.

        Await it in an async function; in a plain one, just call it. It never raises, and it does
        not wait until the text is sent: of several within a second the last one wins. Without a
        `progress_event` of the request's table it does nothing.
        """
        if self._progress is not None:
            self._progress.report(text)
        return Reported()

    @property
    def progress_key(self) -> str | None:
        """The key of the message that changes, if this request's table has one.

        An event that `replaces` this key takes the message's place: let the answer's event do so.
        """
        return self._progress.key if self._progress is not None else None

    def reporting(self, progress: Progress) -> Self:
        """Return a copy whose progress is reported there."""
        copy = self.model_copy()
        copy._progress = progress  # noqa: SLF001 - of its own class
        return copy

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of your own, by name."""
        return self.model_extra or {}

    @property
    def about(self) -> dict[str, Any]:
        """What messages need from the payload: copy it into the payload of your events."""
        kept = ("lead_name", "timezone", "tz")
        return {name: self.payload[name] for name in kept if name in self.payload}

    @property
    def timezone(self) -> tzinfo:
        """The user's timezone: the payload's `timezone` or `tz`, or UTC if that names none."""
        return timezone(str(self.payload.get("timezone") or self.payload.get("tz") or ""))

    @property
    def today(self) -> date:
        """Today's date in the user's timezone."""
        return self.claimed_at.astimezone(self.timezone).date()


class Reported:
    """What `Request.progress` returns: awaiting it lets others run, such as the report."""

    def __await__(self) -> Generator[None, None, None]:
        """Yield to the loop once."""
        yield


_FLAGS = ("silent", "protect", "preview")
_PRIORITIES = (-1, 0, 1)
_LONGEST_KEY = 200


def _is_option(name: str, value: Any) -> bool:
    if name == "thread":
        return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31
    return name in _FLAGS and isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event for the request's chat and lead, inserted in the transaction that settles the row.

    It is sent at once, or at `deliver_after`. If the chat already has an event with this
    `dedupe_key`, no other is inserted. `options` says how it is sent: `silent`, `protect`,
    `preview` (true or false) and `thread` (a topic's message_thread_id). If the chat already has a
    message of the key `replaces`, that is edited, and no other sent. `priority`: 1 urgent, 0
    normal, -1 bulk.

    Raises ValueError for what the database would refuse.
    """

    event_type: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    deliver_after: datetime | None = None
    dedupe_key: str | None = None
    options: Mapping[str, Any] | None = None
    replaces: str | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        for name, value in (self.options or {}).items():
            if not _is_option(name, value):
                raise ValueError(
                    f"{self.event_type}: {name!r} is no option, or not with this value"
                )
        if self.replaces is not None and not 0 < len(self.replaces) <= _LONGEST_KEY:
            raise ValueError(f"{self.event_type}: replaces has 1 to {_LONGEST_KEY} characters")
        if self.priority not in _PRIORITIES:
            raise ValueError(f"{self.event_type}: priority is -1, 0 or 1")


@dataclass(frozen=True, slots=True)
class Completed:
    """The result, any JSON value but null, and events that tell the chat about it.

    `withdraw` names an event type: events of it that still wait for this chat and lead are deleted
    first.
    """

    result: Any
    events: Sequence[NewEvent] = ()
    withdraw: str | None = None
    word: ClassVar = "completed"


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """The request failed for good; `error` is a sentence for the user."""

    error: str
    events: Sequence[NewEvent] = ()
    word: ClassVar = "failed"


RequestOutcome: TypeAlias = Completed | FailedRequest | Retry


def storable(value: Any) -> Any:
    r"""Copy a JSON value without what Postgres refuses: NUL characters and lone surrogates.

    Raises TypeError, ValueError or RecursionError if it is no JSON value.

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
