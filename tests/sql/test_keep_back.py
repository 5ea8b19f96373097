"""What a claim does not take: muted types, chats that blocked the bot, quiet hours."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg.errors import CheckViolation

from tests.sql.signing import init_data
from tests.sql.support import (
    Connection,
    Row,
    Worker,
    delivered,
    failed,
    insert,
    limits,
    put_back,
    read,
    retry,
)
from tests.sql.test_access import ME, become


def wish(database: Connection, chat: int = 1, **columns: Any) -> None:
    """Write a chat's settings."""
    database.execute(
        "insert into tma_chat_settings (telegram_id, muted, timezone, quiet_from, quiet_to)"
        " values (%(chat)s, %(muted)s, %(timezone)s, %(quiet_from)s, %(quiet_to)s)"
        " on conflict (telegram_id) do update set muted = excluded.muted,"
        " timezone = excluded.timezone, quiet_from = excluded.quiet_from,"
        " quiet_to = excluded.quiet_to",
        {"muted": [], "timezone": None, "quiet_from": None, "quiet_to": None}
        | columns
        | {"chat": chat},
    )


def now(database: Connection, zone: str = "UTC") -> datetime:
    """The time of the database's clock."""
    row = database.execute("select now() at time zone %s as at", [zone]).fetchone()
    assert row
    at: datetime = row["at"]
    return at


def be_quiet(database: Connection, hours: float = 1, zone: str = "UTC", **more: Any) -> None:
    """Let quiet hours of a chat have begun, and last for so long still."""
    at = now(database, zone)
    wish(
        database,
        timezone=zone,
        quiet_from=(at - timedelta(minutes=1)).time(),
        quiet_to=(at + timedelta(hours=hours)).time(),
        **more,
    )


def ids(rows: list[Row]) -> list[int]:
    """Their ids."""
    return [row["id"] for row in rows]


@pytest.mark.parametrize("priority", [1, 0, -1])
def test_a_muted_type_ends_as_muted(database: Connection, worker: Worker, priority: int) -> None:
    """Whatever its class: without a call to Telegram, and told to who asked."""
    wish(database, muted=["step_completed"])
    event = insert(database, priority=priority)

    answer = worker.ask()

    assert answer["rows"] == []
    assert answer["ended"] == {"muted": 1}
    row = read(database, event)
    assert (row["status"], row["failure"], row["attempt"]) == ("muted", None, 0)
    assert row["settled_at"] is not None


def test_other_types_of_the_chat_go(database: Connection, worker: Worker) -> None:
    """In the same claim: a row that is muted holds nothing back."""
    wish(database, muted=["step_completed"])
    for _ in range(5):
        insert(database)
    other = insert(database, event_type="else")

    claimed = worker.claim()
    if not claimed:  # as next_seconds says
        claimed = worker.claim()

    assert ids(claimed) == [other]


def test_what_others_mute_is_theirs(database: Connection, worker: Worker) -> None:
    """The same type goes to another chat."""
    wish(database, chat=2, muted=["step_completed"])
    event = insert(database)

    assert ids(worker.claim()) == [event]


@pytest.mark.parametrize("muted", [False, True])
def test_the_claim_decides(database: Connection, worker: Worker, *, muted: bool) -> None:
    """Muted or unmuted between the insert and the claim: what is true at the claim counts."""
    wish(database, muted=[] if muted else ["step_completed"])
    event = insert(database)
    wish(database, muted=["step_completed"] if muted else [])

    assert ids(worker.claim()) == ([] if muted else [event])


def test_many_muted_rows_are_worked_off(database: Connection, worker: Worker) -> None:
    """By several claims if need be, each of which says that another is needed."""
    database.execute(
        "insert into tma_events (telegram_id, event_type)"
        " select 1, 'step_completed' from generate_series(1, 1000)"
    )
    wish(database, muted=["step_completed"])
    last = insert(database, event_type="else")

    claims = 0
    while not (rows := (answer := worker.ask())["rows"]):
        assert answer["next_seconds"] == 0
        claims += 1

    assert ids(rows) == [last]
    assert claims < 10


def test_a_chat_that_blocked_the_bot_is_left_alone(database: Connection, worker: Worker) -> None:
    """For an hour nothing is asked of Telegram for it; its rows say why they failed."""
    insert(database)
    (row,) = worker.claim()
    worker.settle(failed(row, "blocked"))
    later = insert(database)

    answer = worker.ask()

    assert answer["ended"] == {"blocked": 1}
    event = read(database, later)
    assert (event["status"], event["failure"], event["attempt"]) == ("failed", "blocked", 0)
    assert "less than an hour" in event["error"]


def test_after_an_hour_it_is_asked_again(database: Connection, worker: Worker) -> None:
    """Once, if the answer is the same."""
    insert(database)
    (row,) = worker.claim()
    worker.settle(failed(row, "blocked"))
    database.execute("update bridge.chats set blocked_at = blocked_at - interval '61 minutes'")
    second = insert(database)
    (row,) = worker.claim()
    worker.settle(failed(row, "blocked"))
    insert(database)

    assert row["id"] == second
    assert worker.claim() == []


def test_an_urgent_row_is_tried_nevertheless(database: Connection, worker: Worker) -> None:
    """And when it was delivered all others go."""
    insert(database)
    (row,) = worker.claim()
    worker.settle(failed(row, "blocked"))
    urgent = insert(database, priority=1)
    (row,) = worker.claim()
    worker.settle(delivered(row))
    normal = insert(database)

    assert row["id"] == urgent
    assert ids(worker.claim()) == [normal]


def test_an_operators_retry_is_tried(database: Connection, worker: Worker) -> None:
    """Whoever retries rows that failed as blocked means it."""
    event = insert(database)
    (row,) = worker.claim()
    worker.settle(failed(row, "blocked"))

    worker.call("retry_tma_events", None, "blocked")

    assert ids(worker.claim()) == [event]


@pytest.mark.parametrize("priority", [0, -1])
def test_rows_wait_for_the_end_of_quiet_hours(
    database: Connection, worker: Worker, priority: int
) -> None:
    """They say so, are not looked at by any claim meanwhile, and go when it comes."""
    be_quiet(database, hours=1)
    event = insert(database, priority=priority)

    answer = worker.ask()

    assert answer["rows"] == []
    assert 3595 < answer["next_seconds"] <= 3600
    assert read(database, event)["held_by"] == "quiet"
    wish(database)
    database.execute("update tma_events set retry_at = now()")
    (row,) = worker.claim()
    assert row["id"] == event
    assert read(database, event)["held_by"] is None


def test_urgent_rows_pass(database: Connection, worker: Worker) -> None:
    """Also one that was scheduled for the middle of the night when others were held."""
    be_quiet(database)
    insert(database)
    later = insert(database, priority=1, due_in=60)
    worker.claim()
    put_back(database, 61, later)

    assert ids(worker.claim()) == [later]


def test_a_night_costs_the_others_nothing(database: Connection, worker: Worker) -> None:
    """What comes in for a chat that is quiet stands behind what waits there already."""
    be_quiet(database)
    insert(database)
    worker.claim()

    rows = [read(database, insert(database)) for _ in range(3)]

    assert [row["behind"] for row in rows] == [True, True, True]


def test_held_rows_are_no_backlog(database: Connection, worker: Worker) -> None:
    """Nobody is called at night because a chat is quiet."""
    be_quiet(database)
    event = insert(database)
    put_back(database, 600, event)
    worker.claim()

    (stats,) = worker.call("tma_event_stats")

    assert stats["answer"]["pending"] == 0
    assert stats["answer"]["scheduled"] == 1
    assert stats["answer"]["oldest_pending_seconds"] == 0


def test_defaults_hold_where_a_chat_says_nothing(database: Connection, worker: Worker) -> None:
    """In the zone that the payload names."""
    at = now(database, "Asia/Tokyo")
    database.execute(
        "update bridge.settings set quiet_from = %s, quiet_to = %s",
        [(at - timedelta(minutes=1)).time(), (at + timedelta(minutes=30)).time()],
    )
    insert(database, telegram_id=1, payload={"timezone": "Asia/Tokyo"})
    awake = insert(database, telegram_id=2, payload={"timezone": "America/New_York"})

    assert ids(worker.claim()) == [awake]


def test_a_chats_own_hours_and_zone_come_first(database: Connection, worker: Worker) -> None:
    """Before those of the payload and the defaults."""
    at = now(database)
    database.execute(
        "update bridge.settings set quiet_from = %s, quiet_to = %s",
        [(at - timedelta(minutes=1)).time(), (at + timedelta(minutes=30)).time()],
    )
    tokyo = now(database, "Asia/Tokyo")
    wish(
        database,
        timezone="Asia/Tokyo",
        quiet_from=(tokyo + timedelta(hours=2)).time(),
        quiet_to=(tokyo + timedelta(hours=3)).time(),
    )
    event = insert(database, payload={"timezone": "UTC"})

    assert ids(worker.claim()) == [event]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "+99:99", "'; drop table x", "EST5EDT5"])
def test_a_zone_that_is_none_holds_nothing_up(
    database: Connection, worker: Worker, zone: str
) -> None:
    """A user writes the payload: the claim goes on, whatever it says."""
    at = now(database)
    database.execute(
        "update bridge.settings set quiet_from = %s, quiet_to = %s",
        [(at + timedelta(hours=6)).time(), (at + timedelta(hours=6, minutes=1)).time()],
    )
    event = insert(database, payload={"timezone": zone})
    other = insert(database, telegram_id=2)

    assert set(ids(worker.claim())) == {event, other}


def test_what_waits_for_its_retry_waits_for_the_morning(
    database: Connection, worker: Worker
) -> None:
    """A row that was tried before the quiet hours is not tried in the middle of them."""
    event = insert(database)
    (row,) = worker.claim()
    worker.settle(retry(row, after=0))
    be_quiet(database)

    assert worker.claim() == []
    assert read(database, event)["held_by"] == "quiet"


@pytest.mark.parametrize("how", ["muted", "blocked"])
def test_what_ends_unsent_makes_no_endless_room(
    database: Connection, worker: Worker, anon: Connection, how: str
) -> None:
    """Neither of a muted type nor to a blocked bot can a user write as many rows as claims end."""
    database.execute(
        "update bridge.settings set max_pending_per_user = 3, max_scheduled_per_user = 1"
    )
    become(anon, init_data())
    if how == "muted":
        wish(database, ME, muted=["x"])
    else:
        database.execute(
            "insert into bridge.chats (telegram_id, blocked_at) values (%s, now())", [ME]
        )
    write = "insert into tma_events (event_type) select 'x' from generate_series(1, 3)"

    for _ in range(2):
        anon.execute(write)
        worker.ask(20, limits=limits())
    with pytest.raises(CheckViolation, match="ended without being sent"):
        anon.execute(write)
    ended = database.execute("select id from tma_events").fetchall()
    put_back(database, 3601, *(row["id"] for row in ended))

    anon.execute(write)


def test_a_held_row_that_others_have_overtaken_is_free_with_them(
    database: Connection, worker: Worker
) -> None:
    """Whoever switches quiet hours off gets what they held."""
    be_quiet(database)
    held = insert(database, due_in=-1)
    assert worker.claim() == []
    earlier = [insert(database, due_in=place - 10) for place in range(3)]
    assert worker.claim() == []

    wish(database)

    told = []
    for _ in range(4):
        (row,) = worker.claim()
        worker.settle(delivered(row))
        told.append(row["id"])
    assert told == [*earlier, held]
