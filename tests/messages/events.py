"""Events for the tests, and the moment at which they are read."""

from datetime import UTC, datetime

from realtime_bridge.model import TmaEvent

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def event(event_type, payload=None, **columns):
    """A claimed row, complete but for what a test wants to say about it."""
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
