"""Rows for tests."""

from datetime import UTC, datetime

from realtime_bridge.model import TmaEvent

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def event(**fields):
    """Build an event; every field that is not given is plausible."""
    values = {
        "id": 1,
        "telegram_id": 100,
        "chat_id": fields.get("telegram_id", 100),
        "event_type": "step_completed",
        "lead_name": "Ann",
        "attempt": 1,
        "created_at": NOON,
        "deliver_after": NOON,
    }
    return TmaEvent(**{**values, **fields})
