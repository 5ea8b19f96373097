"""Moments as an operator types them: `2h` ago, or a date."""

from datetime import UTC, datetime, timedelta

from realtime_bridge.base import seconds_of


def moment_of(text: str, now: datetime) -> datetime:
    """Read a moment: a span of time ago, or a date with or without a time. Raises ValueError.

    A time without a zone is this machine's.

    >>> noon = datetime(2026, 5, 17, 12, tzinfo=UTC)
    >>> moment_of("2h", noon).isoformat(), moment_of("2026-05-01T00:00+00:00", noon).isoformat()
    ('2026-05-17T10:00:00+00:00', '2026-05-01T00:00:00+00:00')
    """
    try:
        return now - timedelta(seconds=seconds_of(text))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except ValueError:
        raise ValueError(
            f"{text} is no time; write 2h (ago), 2026-05-17 or 2026-05-17T09:30"
        ) from None
