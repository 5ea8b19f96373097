"""Claimed rows as the database returns them, whatever is in them."""

from typing import Any

import structlog
from pydantic import ValidationError

from realtime_bridge.base import Unreadable, decode
from realtime_bridge.model import GatheredEvent, TmaEvent
from realtime_bridge.worker.claimed import token_of, wrong_fields
from realtime_bridge.worker.settling import Settlement, exhausted, invalid

log = structlog.get_logger()


def read(row: Any, max_attempts: int) -> TmaEvent | Settlement | Unreadable:
    """Read a claimed row; one that must not come back for ever ends here, with the reason.

    Unreadable is one of which not even that can be told.
    """
    token = token_of(row)
    if isinstance(token, Unreadable):
        return token
    gathered = _gathered(row.get("gathered"))
    payload = decode(row.get("payload"))
    if isinstance(payload, Unreadable):
        if not gathered:
            return invalid(token, f"payload ({payload.why})")
        # Its end would be that of all rows of the message.
        payload = _left_out(token.id, payload.why)
    try:
        event = TmaEvent.model_validate({**row, "payload": payload, "gathered": gathered})
    except ValidationError as error:
        return invalid(token, wrong_fields(error))
    if event.retries >= max_attempts:  # only recovering counts so far: workers died of it
        return exhausted(event, max_attempts, "the worker that had claimed it went away")
    return event


def rows_of(row: Any) -> int:
    """How many rows end with a claimed one: itself, and those that were gathered into it."""
    gathered = row.get("gathered")
    return 1 + len(gathered) if isinstance(gathered, list) else 1


def _gathered(rows: Any) -> list[GatheredEvent]:
    """Read the rows that go with a claimed one; what cannot be read of one spoils no other."""
    read = (_part(row) for row in rows) if isinstance(rows, list) else ()
    return [one for one in read if one is not None]


def _part(row: Any) -> GatheredEvent | None:
    if not isinstance(row, dict):
        log.error("gathered_row_left_out", error="it is no object")
        return None
    payload = decode(row.get("payload"))
    if isinstance(payload, Unreadable):
        payload = _left_out(row.get("id"), payload.why)
    try:
        return GatheredEvent.model_validate({**row, "payload": payload})
    except ValidationError as error:
        log.error("gathered_row_left_out", id=row.get("id"), error=wrong_fields(error))
        return None


def _left_out(id_: Any, why: str) -> dict[str, Any]:
    """Let the message say what is known of the row without its payload."""
    log.error("gathered_payload_left_out", id=id_, error=why)
    return {}
