"""Dates as people say them: tomorrow, in 3 days, 24 December."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_timedelta

_NEAR = 30  # days; further away a date says more
_NAMED = {-1: "yesterday", 0: "today", 1: "tomorrow"}

_EPOCH = re.compile(r"-?[0-9]{9,14}(\.[0-9]+)?")
_MILLISECONDS_FROM = 1e11  # in seconds the year 5138: JavaScript's Date.now() is meant
_OFFSET = re.compile(r"[+-][0-9]{2}:?[0-9]{2}")


def relative_day(
    value: str, *, now: datetime, timezone: tzinfo, locale: Locale, words: Mapping[str, str]
) -> str:
    """Write a date relative to `now`, in calendar days of `timezone` and in the locale's words.

    `value` is an ISO date or datetime, or seconds or milliseconds since 1970; without an offset
    it is in `timezone` already. Anything else is returned unchanged. `words` may name `yesterday`,
    `today` and `tomorrow`; without them the date is written instead.

    >>> at = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    >>> def said(value: str) -> str:
    ...     return relative_day(value, now=at, timezone=UTC, locale=Locale("en"), words={})
    >>> said("2026-12-04"), said("2026-11-29T23:00:00Z"), said("2027-05-01"), said("soon")
    ('in 3 days', '2 days ago', 'May 1, 2027', 'soon')
    """
    day = _day(value, timezone)
    if day is None:
        return value
    days = (day - now.astimezone(timezone).date()).days
    if days in _NAMED:
        return words.get(_NAMED[days]) or format_date(day, "long", locale=locale)
    if abs(days) > _NEAR:
        return format_date(day, "long", locale=locale)
    # The threshold keeps Babel from rounding days up to weeks.
    return format_timedelta(
        timedelta(days=days), "day", threshold=_NEAR + 1, add_direction=True, locale=locale
    )


@lru_cache(maxsize=256)
def timezone(name: str) -> tzinfo:
    """Find a timezone by its IANA name or its offset, such as `+02:00`; UTC if it is unknown.

    >>> timezone("Europe/Kyiv").key, timezone("+02:00").utcoffset(None), timezone("../etc/passwd")
    ('Europe/Kyiv', datetime.timedelta(seconds=7200), datetime.timezone.utc)
    """
    try:
        if _OFFSET.fullmatch(name):
            return datetime.strptime(name, "%z").tzinfo or UTC
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # what zoneinfo raises for invalid names
        return UTC


def _day(value: str, timezone: tzinfo) -> date | None:
    try:
        if _EPOCH.fullmatch(value):
            seconds = float(value)
            seconds /= 1000 if abs(seconds) >= _MILLISECONDS_FROM else 1
            moment = datetime.fromtimestamp(seconds, UTC)
        else:
            moment = datetime.fromisoformat(value)
        return (moment.astimezone(timezone) if moment.tzinfo else moment).date()
    except (ValueError, OverflowError, OSError):  # not a date, or one that Python cannot represent
        return None
