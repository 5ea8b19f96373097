"""bridge.quiet_until: when quiet hours end, by the clocks of a zone and through their changes."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.sql.support import Connection

MINUTE = timedelta(minutes=1)
NIGHT = ("22:00", "07:00")


def quiet_until(
    database: Connection, hours: tuple[str | None, str | None], zone: str | None, at: str
) -> str | None:
    """The end, in UTC, to the second."""
    row = database.execute(
        "select bridge.quiet_until(%s::time, %s::time, %s, %s::timestamptz) as until",
        [*hours, zone, at],
    ).fetchone()
    assert row
    until: datetime | None = row["until"]
    return until.astimezone(UTC).isoformat(" ").removesuffix("+00:00") if until else None


def expected(start: time, end: time, zone: ZoneInfo, at: datetime) -> datetime | None:
    """The same said in plain Python, minute by minute."""
    wall = at.astimezone(zone).replace(tzinfo=None)
    crosses = start > end
    if not (wall.time() >= start or wall.time() < end if crosses else start <= wall.time() < end):
        return None
    late = crosses and wall.time() >= start
    goal = datetime.combine(wall.date() + timedelta(days=late), end)
    while at.astimezone(zone).replace(tzinfo=None) < goal:
        at += MINUTE
    return at


@pytest.mark.parametrize(
    ("hours", "at", "until"),
    [
        (("13:00", "15:00"), "2026-05-01 12:59:59.9", None),
        (("13:00", "15:00"), "2026-05-01 13:00", "2026-05-01 15:00:00"),
        (("13:00", "15:00"), "2026-05-01 14:59:59.9", "2026-05-01 15:00:00"),
        (("13:00", "15:00"), "2026-05-01 15:00", None),
        (NIGHT, "2026-05-01 21:59:59", None),
        (NIGHT, "2026-05-01 22:00", "2026-05-02 07:00:00"),
        (NIGHT, "2026-05-02 00:00", "2026-05-02 07:00:00"),
        (NIGHT, "2026-05-02 06:59:59", "2026-05-02 07:00:00"),
        (NIGHT, "2026-05-02 07:00", None),
        (NIGHT, "2026-12-31 23:00", "2027-01-01 07:00:00"),
        (("22:00", "00:00"), "2026-05-01 23:00", "2026-05-02 00:00:00"),
        (("22:00", "24:00"), "2026-05-01 23:00", "2026-05-02 00:00:00"),
        (("00:00", "07:00"), "2026-05-01 00:00", "2026-05-01 07:00:00"),
        (("00:00", "07:00"), "2026-05-01 23:59", None),
    ],
)
def test_by_day_and_over_midnight(
    database: Connection, hours: tuple[str, str], at: str, until: str | None
) -> None:
    """From the first moment to before the last one; in UTC."""
    assert quiet_until(database, hours, "UTC", f"{at}Z") == until


@pytest.mark.parametrize(
    "hours", [(None, None), ("22:00", None), (None, "07:00"), ("07:00", "07:00")]
)
def test_no_hours_are_never_quiet(
    database: Connection, hours: tuple[str | None, str | None]
) -> None:
    """Half of them, or none between their ends."""
    assert quiet_until(database, hours, "UTC", "2026-05-01 03:00Z") is None


@pytest.mark.parametrize(
    ("hours", "at", "until"),
    [
        # 02:00 becomes 03:00 at 01:00 UTC: a night of eight hours.
        (NIGHT, "2026-03-28 21:00", "2026-03-29 05:00:00"),
        (NIGHT, "2026-03-29 00:59:59", "2026-03-29 05:00:00"),
        (NIGHT, "2026-03-29 01:00", "2026-03-29 05:00:00"),
        # There is no 02:30: the clock is past it when it is put forward.
        (("22:00", "02:30"), "2026-03-28 23:17:42.5", "2026-03-29 01:00:00"),
        (("22:00", "02:00"), "2026-03-28 23:30", "2026-03-29 01:00:00"),
        (("22:00", "03:00"), "2026-03-28 23:30", "2026-03-29 01:00:00"),
        (("02:15", "02:45"), "2026-03-29 01:00", None),
        # 03:00 becomes 02:00 at 01:00 UTC: ten hours.
        (NIGHT, "2026-10-24 20:00", "2026-10-25 06:00:00"),
        (NIGHT, "2026-10-25 00:59:59", "2026-10-25 06:00:00"),
        (NIGHT, "2026-10-25 01:00", "2026-10-25 06:00:00"),
        # 02:30 comes twice: the first counts, until it has gone by.
        (("22:00", "02:30"), "2026-10-24 23:30", "2026-10-25 00:30:00"),
        (("22:00", "02:30"), "2026-10-25 00:30", None),
        (("22:00", "02:30"), "2026-10-25 01:10", "2026-10-25 01:30:00"),
    ],
)
def test_daylight_saving_time_begins_and_ends(
    database: Connection, hours: tuple[str, str], at: str, until: str | None
) -> None:
    """In Berlin: by the clock on the wall, whatever it is worth in hours."""
    assert quiet_until(database, hours, "Europe/Berlin", f"{at}Z") == until


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("Europe/Berlin", ("2026-03-28", "2026-10-24")),
        ("America/New_York", ("2026-03-07", "2026-10-31")),
        ("Australia/Lord_Howe", ("2026-04-04", "2026-10-03")),  # by half an hour
        ("Antarctica/Troll", ("2026-03-28", "2026-10-24")),  # by two
        ("Africa/Casablanca", ("2026-02-14", "2026-03-21")),  # the other way round
        ("Asia/Kathmandu", ("2026-03-28",)),
    ],
)
def test_it_is_what_a_clock_on_the_wall_says(
    database: Connection, zone: str, days: tuple[str, ...]
) -> None:
    """Through two days around each change, every 20 minutes, for many hours."""
    hours = [
        ("22:00", "07:00"), ("23:30", "02:10"), ("01:40", "02:20"), ("02:50", "01:50"),
        ("00:00", "03:00"), ("12:00", "11:00"),
    ]  # fmt: skip
    differ = []
    for day in days:
        first = datetime.fromisoformat(f"{day}T00:00+00:00")
        for start, end in hours:
            rows = database.execute(
                "select at, bridge.quiet_until(%s, %s, %s, at) as until"
                " from generate_series(%s::timestamptz, %s, '20 minutes') at",
                [start, end, zone, first, first + timedelta(days=2)],
            ).fetchall()
            assert len(rows) == 145
            bounds = time.fromisoformat(start), time.fromisoformat(end)
            for row in rows:
                wanted = expected(*bounds, ZoneInfo(zone), row["at"])
                if row["until"] != wanted:
                    differ.append((start, end, row["at"], row["until"], wanted))

    assert differ == []


@pytest.mark.parametrize(
    ("zone", "until"),
    [
        ("Europe/Kyiv", "2026-07-01 04:00:00"),
        ("+03:00", "2026-07-01 04:00:00"),
        ("+0300", "2026-07-01 04:00:00"),
        ("-03:00", "2026-07-01 10:00:00"),
        ("+05:45", "2026-07-01 01:15:00"),
        ("Etc/GMT+3", "2026-07-01 10:00:00"),  # of its own, POSIX's sign
        ("CET", "2026-07-01 05:00:00"),  # in summer too
        ("EET", "2026-07-01 04:00:00"),
        ("EST5EDT", "2026-07-01 11:00:00"),
        ("UTC", "2026-07-01 07:00:00"),
    ],
)
def test_zones_are_names_or_offsets(database: Connection, zone: str, until: str) -> None:
    """East of Greenwich is ahead: an offset has the sign of ISO 8601."""
    hours = ("00:00", "07:00") if until < "2026-07-01 07" else ("20:00", "07:00")
    at = "2026-07-01 00:30Z" if until > "2026-07-01 02" else "2026-06-30 23:00Z"

    assert quiet_until(database, hours, zone, at) == until


HOSTILE = [
    "", " ", "Mars/Olympus", "UTC; drop table tma_events", "../../etc/passwd", "/etc/localtime",
    "Foo5", "Foo/Bar5", "<x>-5", "X-25:00:00", "+25:00", "+3", "+03", "+03:60", "--03:00",
    "interval '5 hours'", "5", "1e9", "default", "\u0416", "%s", "'", "Europe/Berlin\n",
    "\tUTC", "GMT+99", "Etc/GMT+99", "x" * 10_000, "+" * 10_000, "a/" * 5_000, None,
]  # fmt: skip


@pytest.mark.parametrize("zone", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_zone_counts_as_utc(database: Connection, zone: str | None) -> None:
    """A payload holds whatever its writer wants: no error, and no hours of one's own."""
    assert quiet_until(database, NIGHT, zone, "2026-07-01 05:00Z") == "2026-07-01 07:00:00"


@pytest.mark.parametrize("at", ["infinity", "-infinity", "294276-12-31 23:00Z", "4713-01-01 BC"])
def test_it_never_fails(database: Connection, at: str) -> None:
    """At the ends of time there is no next day."""
    row = database.execute(
        "select bridge.quiet_until('22:00', '07:00', 'Europe/Kyiv', %s::timestamptz)::text", [at]
    ).fetchone()

    assert row
