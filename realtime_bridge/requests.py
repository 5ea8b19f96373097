"""Request tables: rows of the Mini App that are answered on the row itself.

`public.plan_requests` is one. Any table is, once `bridge.make_request_table()` has been over it.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Annotated, Any, TypeAlias, assert_never

import structlog
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
)

from realtime_bridge.claims import ROWS, SWEPT, Token, token_of, wrong_fields
from realtime_bridge.dates import timezone
from realtime_bridge.decoding import Unreadable, decode
from realtime_bridge.model import Recovered, Retry
from realtime_bridge.redaction import Redactor
from realtime_bridge.rpc import Refused, Rpc, Unavailable, shaped

log = structlog.get_logger()

_UNREDACTED = Redactor()
_SETTLED: TypeAdapter[list[Any]] = TypeAdapter(list[Any])


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


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no answer; `error` is a sentence for the user."""

    error: str
    events: Sequence[NewEvent] = ()


RequestOutcome: TypeAlias = Completed | Failed | Retry


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


def settlement(request: Request, outcome: RequestOutcome) -> dict[str, Any]:
    """One entry of `settle_tma_requests(p_outcomes)`."""
    token = {"id": request.id, "attempt": request.attempt}
    match outcome:
        case Completed(result, events, withdraw):
            return token | {
                "status": "completed",
                "result": result,
                "events": [_event(event) for event in events],
                "withdraw": withdraw,
            }
        case Failed(error, events):
            return token | {
                "status": "failed",
                "error": error,
                "events": [_event(event) for event in events],
            }
        case Retry(why, after, counted):
            return token | {
                "status": "pending",
                "error": why,
                "retry_in": after or 0.0,
                "counted": counted,
            }
        case _:
            assert_never(outcome)


def _event(event: NewEvent) -> dict[str, Any]:
    return {
        "event_type": event.event_type,
        "payload": dict(event.payload),
        "deliver_after": event.deliver_after and event.deliver_after.isoformat(),
        "dedupe_key": event.dedupe_key,
    }


@dataclass(frozen=True, slots=True)
class Invalid:
    """A claimed row that is no request; `why` names what cannot be read, not what is in it."""

    token: Token
    why: str


def read(row: Any) -> Request | Invalid | Unreadable:
    """Read a claimed row: its token, and the request as JSON.

    Unreadable is one that cannot even be settled.
    """
    token = token_of(row)
    if isinstance(token, Unreadable):
        return token
    match decode(row.get("request")):
        case Unreadable(why):
            return Invalid(token, f"request ({why})")
        case dict() as columns:
            try:
                return Request.model_validate({**columns, **token.model_dump()})
            except ValidationError as error:
                return Invalid(token, wrong_fields(error))
        case _:
            return Invalid(token, "request (it is no object)")


class RequestQueue:
    """A request table as a queue over PostgREST.

    Each outcome is one call, unlike events': answers are rare, and one that the database
    refuses must not take others with it.
    """

    def __init__(
        self, rpc: Rpc, table: str, *, lease: float, redact: Redactor = _UNREDACTED
    ) -> None:
        """`lease`: seconds after which a claim is somebody else's."""
        self._redact = redact
        self._rpc = rpc
        self._table = table
        self._lease = lease

    async def claim(self, limit: int) -> Sequence[Request]:
        """Take up to `limit` waiting requests, oldest first."""
        answer = await self._call("claim_tma_requests", p_limit=limit)
        requests, invalid = [], []
        for row in shaped(ROWS, "claim_tma_requests", answer):
            match read(row):
                case Request() as request:
                    requests.append(request)
                case Invalid() as end:
                    log.error("row_invalid", lane=self._table, id=end.token.id, error=end.why)
                    invalid.append(self._refuse_row(end))
                case Unreadable(why):  # after its lease it is claimed again
                    log.error("row_without_token", lane=self._table, error=why)
        await asyncio.gather(*invalid)
        return requests

    async def settle(self, request: Request, outcome: RequestOutcome) -> bool:
        """Write an outcome, with its events in the same transaction; False if it came too late."""
        answer = await self._settle(settlement(request, outcome))
        return bool(shaped(_SETTLED, "settle_tma_requests", answer))

    async def release(self, requests: Sequence[Request]) -> None:
        """Hand claims back; whatever was computed for them is lost."""
        if requests:
            claims = [{"id": one.id, "attempt": one.attempt} for one in requests]
            await self._call("release_tma_requests", p_claims=claims)

    async def recover(self) -> Recovered:
        """Take back requests whose lease is over, and tell when the next retry is due."""
        answer = await self._call("recover_tma_requests", p_lease=f"{self._lease} seconds")
        return shaped(SWEPT, "recover_tma_requests", answer)

    async def _call(self, function: str, **arguments: Any) -> Any:
        return await self._rpc.call(function, {"p_table": self._table, **arguments})

    async def _settle(self, outcome: Mapping[str, Any]) -> Any:
        if "error" in outcome:  # which users may read
            outcome = {**outcome, "error": self._redact.public(outcome["error"])}
        return await self._call("settle_tma_requests", p_outcomes=[outcome])

    async def _refuse_row(self, end: Invalid) -> None:
        """A row that cannot be read must not come back for ever: it ends here, with the reason.

        If that fails it comes back after its lease. Others were claimed with it: never raises.
        """
        error = f"the bridge cannot read: {end.why}"
        try:
            await self._settle({**end.token.model_dump(), "status": "failed", "error": error})
        except (Unavailable, Refused) as failure:
            log.warning("end_failed", lane=self._table, id=end.token.id, error=str(failure))
        except Exception:
            log.exception("end_failed", lane=self._table, id=end.token.id)
