"""A request table as a queue: claims, settles and releases its rows over PostgREST.

`public.plan_requests` is one; `bridge.make_request_table()` makes one of any other table.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import structlog
from pydantic import TypeAdapter, ValidationError

from realtime_bridge.base import Unreadable, decode
from realtime_bridge.credentials import Redactor
from realtime_bridge.database import Refused, Rpc, Unavailable, shaped
from realtime_bridge.outcomes import Retry
from realtime_bridge.request_tables.request import (
    Completed,
    FailedRequest,
    NewEvent,
    Request,
    RequestOutcome,
)
from realtime_bridge.worker import ROWS, Claim, Token, token_of, wrong_fields

log = structlog.get_logger()

_UNREDACTED = Redactor()
_SETTLED: TypeAdapter[list[Any]] = TypeAdapter(list[Any])


def encode_outcome(request: Request, outcome: RequestOutcome) -> dict[str, Any]:
    """One entry of `settle_tma_requests(p_outcomes)`."""
    fields: dict[str, Any]
    match outcome:
        case Completed(result, events, withdraw):
            fields = {
                "status": "completed",
                "result": result,
                "events": [_encode_event(event) for event in events],
                "withdraw": withdraw,
            }
        case FailedRequest(error, events):
            fields = {
                "status": "failed",
                "error": error,
                "events": [_encode_event(event) for event in events],
            }
        case Retry(why, after, counted):
            fields = {
                "status": "pending",
                "error": why,
                "retry_in": after or 0.0,
                "counted": counted,
            }
        case _:
            assert_never(outcome)
    return _claim(request) | fields


def _encode_event(event: NewEvent) -> dict[str, Any]:
    return {
        "event_type": event.event_type,
        "payload": dict(event.payload),
        "deliver_after": event.deliver_after and event.deliver_after.isoformat(),
        "dedupe_key": event.dedupe_key,
        "options": event.options and dict(event.options),
        "replaces": event.replaces,
        "priority": event.priority,
    }


def _claim(request: Request) -> dict[str, Any]:
    return {"id": request.id, "attempt": request.attempt}


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A claimed row that is no request; `why` names the wrong fields without their values."""

    token: Token
    why: str


def parse_row(row: Any) -> Request | InvalidRow | Unreadable:
    """Parse a claimed row: its token, and the request as JSON text.

    Unreadable is one without a token, which cannot even be settled.
    """
    token = token_of(row)
    if isinstance(token, Unreadable):
        return token
    match decode(row.get("request")):
        case Unreadable(why):
            return InvalidRow(token, f"request ({why})")
        case dict() as columns:
            try:
                return Request.model_validate({**columns, **token.model_dump()})
            except ValidationError as error:
                return InvalidRow(token, wrong_fields(error))
        case _:
            return InvalidRow(token, "request (it is no object)")


class RequestQueue:
    """A request table as a queue over PostgREST.

    Unlike events, each outcome is a call of its own: results are rare, and one that the database
    refuses must not take others with it.
    """

    def __init__(self, rpc: Rpc, table: str, *, redact: Redactor = _UNREDACTED) -> None:
        """`redact` is applied to errors, which users may read."""
        self._redact = redact
        self._rpc = rpc
        self._table = table

    async def claim(self, limit: int) -> Claim[Request]:
        """Take up to `limit` waiting requests, oldest first."""
        rows = await self._call("claim_tma_requests", p_limit=limit)
        requests, refusals = [], []
        for row in shaped(ROWS, "claim_tma_requests", rows):
            match parse_row(row):
                case Request() as request:
                    requests.append(request)
                case InvalidRow(token, why):
                    log.error("row_invalid", lane=self._table, id=token.id, error=why)
                    refusals.append(self._fail_invalid(token, why))
                case Unreadable(why):  # claimed again after its lease
                    log.error("row_without_token", lane=self._table, error=why)
        await asyncio.gather(*refusals)
        return Claim(requests)

    async def recall(self) -> Sequence[Request]:
        """Return nothing: requests whose claim was not answered wait for their lease."""
        return ()

    async def settle(self, request: Request, outcome: RequestOutcome) -> bool:
        """Write an outcome and its events in one transaction; False if the row was lost."""
        settled = await self._settle(encode_outcome(request, outcome))
        return bool(shaped(_SETTLED, "settle_tma_requests", settled))

    async def release(self, requests: Sequence[Request]) -> None:
        """Give claimed requests back; whatever was computed for them is lost."""
        if requests:
            await self._call("release_tma_requests", p_claims=[_claim(one) for one in requests])

    async def report(self, request: Request, event: NewEvent) -> bool:
        """Tell the chat of a request's progress; False if the row was lost.

        The event takes the place of the one before, in the chat as among those that wait.
        """
        reported = await self._call(
            "report_tma_progress",
            p_id=request.id,
            p_attempt=request.attempt,
            p_event=_encode_event(event),
        )
        return bool(reported)

    async def _call(self, function: str, **arguments: Any) -> Any:
        return await self._rpc.call(function, {"p_table": self._table, **arguments})

    async def _settle(self, entry: Mapping[str, Any]) -> Any:
        if "error" in entry:  # which users may read
            entry = {**entry, "error": self._redact.public(entry["error"])}
        return await self._call("settle_tma_requests", p_outcomes=[entry])

    async def _fail_invalid(self, token: Token, why: str) -> None:
        """Fail a row that cannot be parsed, or it would be claimed again forever.

        Never raises, because other rows were claimed with it: if the call fails, the row comes
        back after its lease.
        """
        error = f"the bridge cannot read: {why}"
        try:
            await self._settle({**token.model_dump(), "status": "failed", "error": error})
        except (Unavailable, Refused) as failure:
            log.warning("end_failed", lane=self._table, id=token.id, error=str(failure))
        except Exception:
            log.exception("end_failed", lane=self._table, id=token.id)
