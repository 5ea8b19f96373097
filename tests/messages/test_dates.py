# ruff: noqa: RUF001 - Ukrainian has letters that look Latin
"""Dates as people say them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from babel import Locale

from realtime_bridge.messages import dates
from realtime_bridge.messages.templates import babel_locale

from .events import NOW, event

WORDS = {
    "en": {"yesterday": "yesterday", "today": "today", "tomorrow": "tomorrow"},
    "uk": {"yesterday": "вчора", "today": "сьогодні", "tomorrow": "завтра"},
    "de": {},
}


def said(value, locale="en", timezone=UTC, now=NOW):
    """Return a date as the user reads it; NOW is Tuesday, 1 December 2026, 9:00 UTC."""
    return dates.relative_day(
        value, now=now, timezone=timezone, locale=Locale.parse(locale), words=WORDS[locale[:2]]
    )


@pytest.mark.parametrize(
    ("days", "english", "ukrainian"),
    [
        (-31, "October 31, 2026", "31 жовтня 2026\u202fр."),
        (-30, "30 days ago", "30 днів тому"),
        (-21, "21 days ago", "21 день тому"),
        (-2, "2 days ago", "2 дні тому"),
        (-1, "yesterday", "вчора"),
        (0, "today", "сьогодні"),
        (1, "tomorrow", "завтра"),
        (2, "in 2 days", "через 2 дні"),
        (3, "in 3 days", "через 3 дні"),
        (5, "in 5 days", "через 5 днів"),
        (7, "in 7 days", "через 7 днів"),
        (14, "in 14 days", "через 14 днів"),
        (22, "in 22 days", "через 22 дні"),
        (30, "in 30 days", "через 30 днів"),
        (31, "January 1, 2027", "1 січня 2027\u202fр."),
    ],
)
def test_a_day_is_said_relative_to_today(days, english, ukrainian):
    """The nearest days have names, up to 30 days are counted, anything further away is a date."""
    day = (NOW.date() + timedelta(days=days)).isoformat()

    assert said(day, "en") == english
    assert said(day, "uk") == ukrainian


def test_a_language_without_words_for_today_gets_the_date():
    """Babel has no names for the days around today: a date is right in every language."""
    assert said("2026-12-01", "de") == "1. Dezember 2026"
    assert said("2026-12-03", "de") == "in 2 Tagen"


@pytest.mark.parametrize(
    "value",
    [
        "2026-12-03",
        "20261203",
        "2026-12-03T00:00",
        "2026-12-03T23:59:59",
        "2026-12-03 10:00:00+00",
        "2026-12-03T10:00:00Z",
        "2026-12-03T10:00:00.123456+00:00",
        "1796292000",
        "1796292000.5",
        "1796292000000",
    ],
)
def test_every_spelling_of_a_moment_is_understood(value):
    """ISO dates and datetimes as Postgres and JavaScript write them, and seconds since 1970."""
    assert said(value) == "in 2 days"


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "Friday",
        "2026-13-45",
        "14",
        "",
        "2026",
        "-",
        "-99999999999999",
        "12:30",
        "٣٣٣٣٣٣٣٣٣٣",
    ],
)
def test_anything_but_a_date_is_shown_unchanged(value):
    """The Mini App may have written it for people already."""
    assert said(value) == value


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_moment_at_the_edge_of_the_calendar_is_shown_unchanged(value):
    """Its date in another timezone may not exist."""
    assert said(value, timezone=UTC) == value


@pytest.mark.parametrize(
    ("timezone", "due", "expected"),
    [
        ("UTC", "2026-12-01T23:30:00Z", "today"),
        ("Europe/Kyiv", "2026-12-01T23:30:00Z", "tomorrow"),
        ("+02:00", "2026-12-01T23:30:00Z", "tomorrow"),
        ("-1000", "2026-12-01T23:30:00Z", "tomorrow"),  # there it is still 30 November
        ("Pacific/Auckland", "2026-12-01T23:30:00Z", "tomorrow"),
        ("Europe/Kyiv", "2026-12-01", "today"),
        ("Europe/Kyiv", "2026-12-01T23:30:00", "today"),
    ],
)
def test_days_are_counted_on_the_users_calendar(timezone, due, expected):
    """A time with an offset is converted to the user's timezone; one without is in it already."""
    assert said(due, timezone=dates.timezone(timezone)) == expected


def test_today_is_the_users_today():
    """At 23:30 UTC it is already tomorrow in Kyiv."""
    late = datetime(2026, 12, 1, 23, 30, tzinfo=UTC)

    assert said("2026-12-02", timezone=ZoneInfo("Europe/Kyiv"), now=late) == "today"
    assert said("2026-12-02", timezone=UTC, now=late) == "tomorrow"


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Europe", "\x00", "+99:99", "x" * 9999],
)
def test_an_unknown_timezone_is_utc(name):
    """A hostile or misspelt name does not fail the message."""
    assert dates.timezone(name) is UTC


@pytest.mark.parametrize("key", ["timezone", "tz"])
def test_the_payload_names_the_timezone(messages, key):
    """A Mini App sends the value of Intl.DateTimeFormat().resolvedOptions().timeZone."""
    payload = {"step_id": 1, "due": "2026-12-01T23:30:00Z", key: "Europe/Kyiv"}

    message = messages.render(event("step_due", payload), now=NOW)

    assert message.plain == "Reminder for Ann Lee: Step 1 (due tomorrow)"


def test_a_region_writes_dates_its_own_way(messages):
    """A British reader gets the English text with a British date."""
    payload = {"step_id": 1, "due": "2027-05-09"}

    british = messages.render(event("step_due", payload, locale="en-GB"), now=NOW)
    ukrainian = messages.render(event("step_due", payload, locale="uk-UA"), now=NOW)

    assert british.plain == "Reminder for Ann Lee: Step 1 (due 9 May 2027)"
    assert "9 травня 2027" in ukrainian.plain


def test_a_text_in_another_language_than_asked_has_dates_of_its_own_language(messages):
    """A German user reads English here: "due in 3 days", not "due in 3 Tagen"."""
    payload = {"step_id": 1, "due": "2026-12-04"}

    message = messages.render(event("step_due", payload, locale="de-AT"), now=NOW)

    assert message.plain.endswith("(due in 3 days)")
    assert babel_locale("en", "de-AT") == Locale("en")
