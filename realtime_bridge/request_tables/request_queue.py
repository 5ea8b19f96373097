"""Request tables: rows of the Mini App that are answered on the row itself.

`public.plan_requests` is one. Any table is, once `bridge.make_request_table()` has been over it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import structlog
from pydantic import (
    TypeAdapter,
    ValidationError,
)

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
        case FailedRequest(error, events):
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

    def __init__(self, rpc: Rpc, table: str, *, redact: Redactor = _UNREDACTED) -> None:
        """`redact` is applied to errors, which users may read."""
        self._redact = redact
        self._rpc = rpc
        self._table = table

    async def claim(self, limit: int) -> Claim[Request]:
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
        return Claim(requests)

    async def recall(self) -> Sequence[Request]:
        """Return nothing: requests whose claim was not answered wait for their lease."""
        return ()

    async def settle(self, request: Request, outcome: RequestOutcome) -> bool:
        """Write an outcome, with its events in the same transaction; False if it came too late."""
        answer = await self._settle(settlement(request, outcome))
        return bool(shaped(_SETTLED, "settle_tma_requests", answer))

    async def release(self, requests: Sequence[Request]) -> None:
        """Hand claims back; whatever was computed for them is lost."""
        if requests:
            claims = [{"id": one.id, "attempt": one.attempt} for one in requests]
            await self._call("release_tma_requests", p_claims=claims)

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
