"""Requests and plans for tests; every field that is not given is plausible."""

from datetime import UTC, datetime

from realtime_bridge.request_tables.request import Request

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def request(**fields):
    """A claimed request."""
    values = {
        "id": 1,
        "telegram_id": 100,
        "lead_id": 7,
        "lead_name": "Ann",
        "attempt": 1,
        "created_at": NOON,
        "claimed_at": NOON,
    }
    return Request(**{**values, **fields})


def plan(*steps, **fields):
    """A plan as a planner may return it: by default of one step."""
    return {"steps": list(steps) or [{"step_id": 1, "description": "Call"}], **fields}


def step(step_id=1, description="Call", **fields):
    """One step of a plan."""
    return {"step_id": step_id, "description": description, **fields}
