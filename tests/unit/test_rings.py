"""Which claimed rows must have rung the bells, and when that was."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from realtime_bridge.doorbell import BellState, DoorbellStatus
from realtime_bridge.model import TmaEvent
from realtime_bridge.request_tables.request import Request
from realtime_bridge.watching import rang_at_insert, sweep_every

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def event(**fields: Any) -> TmaEvent:
    row = {"id": 1, "telegram_id": 7, "chat_id": 7, "event_type": "x", "attempt": 1}
    times = {"created_at": NOON, "deliver_after": NOON, "waited_seconds": 0.5}
    return TmaEvent(**(row | times | fields))


def request(**fields: Any) -> Request:
    row = {"id": 1, "telegram_id": 7, "attempt": 1, "created_at": NOON, "claimed_at": NOON}
    return Request(**(row | fields))


@pytest.mark.parametrize(
    ("row", "rang"),
    [
        (event(), True),
        (event(deliver_after=NOON - timedelta(days=1)), True),
        (event(waited_seconds=0.0), True),
        (event(waited_seconds=3600.0), True),
        (event(deliver_after=NOON + timedelta(seconds=1)), False),
        (event(attempt=2), False),
        (event(attempt=1, retries=1), False),
        (event(waited_seconds=-0.1), False),
        (request(), True),
        (request(attempt=2), False),
        (request(waited_seconds=-1.0), False),
    ],
)
def test_a_fresh_row_that_was_due_at_its_insert_rang(
    row: TmaEvent | Request, *, rang: bool
) -> None:
    """Not what was scheduled, comes back, or says that it is of the future."""
    assert rang_at_insert(row) is rang


@pytest.mark.parametrize(
    ("changes", "broadcast", "healthy", "seconds"),
    [
        (BellState.READY, BellState.READY, True, 30.0),
        (BellState.READY, BellState.OFF, True, 25.0),
        (BellState.REFUSED, BellState.READY, True, 25.0),
        (BellState.DOWN, BellState.DOWN, False, 3.0),
    ],
)
def test_a_lone_bell_is_swept_behind_more_often(
    changes: BellState, broadcast: BellState, *, healthy: bool, seconds: float
) -> None:
    """Nothing contradicts it but rows that a sweep finds."""
    status = DoorbellStatus(changes, broadcast, healthy, 0.0, None, 0)

    assert sweep_every(status, 30.0, 3.0) == seconds
    assert sweep_every(status, 10.0, 3.0) <= 10.0
