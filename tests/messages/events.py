"""Events for the tests, and the time at which they are read."""

from datetime import UTC, datetime

from realtime_bridge.model import TmaEvent

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def event(event_type, payload=None, **columns):
    """Return a claimed row, with the columns that a test wants to set."""
    row = {
        "id": 1,
        "telegram_id": 7,
        "event_type": event_type,
        "lead_id": 5,
        "lead_name": "Ann Lee",
        "payload": payload or {},
        "attempt": 1,
        "created_at": NOW,
        "deliver_after": NOW,
    }
    return TmaEvent.model_validate(row | columns)
