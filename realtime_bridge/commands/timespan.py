"""Times as an operator types them: `10m`, `2h`, or a date."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(rf"(\d+(?:\.\d+)?)([{''.join(_UNITS)}])")


def seconds_of(text: str) -> float:
    """Read a span of time, in seconds. Raises ValueError.

    >>> seconds_of("90s"), seconds_of("1.5h")
    (90.0, 5400.0)
    """
    if span := _SPAN.fullmatch(text.strip()):
        return float(span[1]) * _UNITS[span[2]]
    raise ValueError(f"{text} is no span of time; write 30s, 10m, 2h or 1d")


def moment_of(text: str, now: datetime) -> datetime:
    """Read a moment: a span of time ago, or a date with or without a time. Raises ValueError.

    A time without a zone is this machine's.

    >>> noon = datetime(2026, 5, 17, 12, tzinfo=UTC)
    >>> moment_of("2h", noon).isoformat(), moment_of("2026-05-01T00:00+00:00", noon).isoformat()
    ('2026-05-17T10:00:00+00:00', '2026-05-01T00:00:00+00:00')
    """
    if _SPAN.fullmatch(text.strip()):
        return now - timedelta(seconds=seconds_of(text))
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except ValueError:
        raise ValueError(
            f"{text} is no time; write 2h (ago), 2026-05-17 or 2026-05-17T09:30"
        ) from None
