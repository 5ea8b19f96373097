"""The page's withdrawal: what still waits is not sent any more."""

from dataclasses import dataclass
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from realtime_bridge.commands.dashboard.retrying import MOST_ROWS, Id
from realtime_bridge.commands.retry import SHOWN_IDS
from realtime_bridge.database import Rpc, shaped

log = structlog.get_logger()

_IDS = TypeAdapter(list[int])


class Unwanted(BaseModel):
    """Which rows the page wants taken back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_ROWS)]


class UnwantedType(BaseModel):
    """Of which type the page wants rows taken back; `rows` is how many a person agreed to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_type: str  # of the service's rows it may be any
    rows: Annotated[int, Field(ge=1, lt=2**31)]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """So many are never sent; `gone` are those that no longer waited, or are not there."""

    rows: int
    gone: list[int]


async def withdraw(rpc: Rpc, unwanted: Unwanted) -> Withdrawn:
    """Withdraw those of the rows that still wait. Raises Unavailable and Refused."""
    ids = sorted(set(unwanted.ids))
    answer = await rpc.call("withdraw_tma_events", {"p_ids": ids})
    withdrawn = shaped(_IDS, "withdraw_tma_events", answer)
    gone = sorted(set(ids).difference(withdrawn))
    log.info(
        "rows_withdrawn",
        rows=len(withdrawn),
        ids=sorted(withdrawn)[:SHOWN_IDS],
        gone=gone[:SHOWN_IDS],
    )
    return Withdrawn(len(withdrawn), gone)


async def withdraw_type(rpc: Rpc, unwanted: UnwantedType) -> Withdrawn:
    """Withdraw rows of a type that wait, the longest due first, not more than were agreed to.

    Raises Unavailable and Refused: what was withdrawn by then stays so, and the log says how many.
    """
    rows = 0
    try:
        while (limit := min(MOST_ROWS, unwanted.rows - rows)) > 0:
            asked = {"p_event_type": unwanted.event_type, "p_limit": limit}
            answer = await rpc.call("withdraw_waiting_tma_events", asked)
            batch = len(shaped(_IDS, "withdraw_waiting_tma_events", answer))
            rows += batch
            if not batch:  # fewer than asked for may be because some were claimed meanwhile
                break
    finally:
        log.info("rows_withdrawn", rows=rows, agreed=unwanted.rows, event_type=unwanted.event_type)
    return Withdrawn(rows, [])
