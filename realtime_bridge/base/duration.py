"""Spans of time as people write them: `10s`, `2h`."""

import re

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
