"""tma_chat_settings: a user's own wishes, within limits, in force for rows that wait already."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.sql.signing import init_data
from tests.sql.support import Connection, Worker, insert, read
from tests.sql.test_access import ME, become

DAY = {"quiet_from": "00:00", "quiet_to": "23:59:59.999999"}


@pytest.fixture
def user(anon: Connection) -> Connection:
    """A Mini App's session of a verified user."""
    become(anon, init_data())
    return anon


def upsert(session: Connection, **columns: Any) -> Any:
    """Write settings as PostgREST does for `.upsert(...).select()`; the row."""
    written = session.execute(
        sql.SQL(
            "insert into public.tma_chat_settings ({0}) values ({1})"
            " on conflict (telegram_id) do update set {2} returning *"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
            sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns
            ),
        ),
        list(columns.values()),
    ).fetchone()
    assert written
    return written


def everything(database: Connection) -> list[Any]:
    """All settings, as the owner sees them."""
    return database.execute(
        "select telegram_id, timezone, muted from tma_chat_settings order by telegram_id"
    ).fetchall()


# Whose they are


def test_the_first_write_makes_the_row_the_second_changes_it(
    user: Connection, database: Connection
) -> None:
    """Without a telegram_id it is the user's; what is not given stays as it is."""
    upsert(user, timezone="Europe/Kyiv")
    upsert(user, muted=["step_due"])

    assert everything(database) == [
        {"telegram_id": ME, "timezone": "Europe/Kyiv", "muted": ["step_due"]}
    ]


def test_naming_oneself_is_fine(user: Connection) -> None:
    """Also when the row is there, which then gets the same telegram_id again."""
    upsert(user, telegram_id=ME, muted=["a"])

    assert upsert(user, telegram_id=ME, muted=["b"])["muted"] == ["b"]


def test_settings_are_read_and_deleted_by_their_user(user: Connection) -> None:
    """Deleted, the defaults count again."""
    upsert(user, muted=["a"])

    seen = user.execute("select muted from tma_chat_settings").fetchall()
    user.execute("delete from tma_chat_settings")

    assert seen == [{"muted": ["a"]}]
    assert user.execute("select from tma_chat_settings").fetchall() == []


def test_others_settings_are_out_of_reach(user: Connection, database: Connection) -> None:
    """Not read, written, moved to oneself, moved to others nor deleted."""
    upsert(database, telegram_id=ME + 1, muted=["theirs"])
    upsert(user, muted=["mine"])

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not the user"):
        upsert(user, telegram_id=ME + 1, muted=["x"])
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not the user"):
        upsert(user, telegram_id=ME + 2, muted=["x"])
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not the user"):
        user.execute("update tma_chat_settings set telegram_id = %s", [ME + 2])
    changed = user.execute("update tma_chat_settings set timezone = 'UTC'").rowcount
    seen = user.execute("select muted from tma_chat_settings").fetchall()
    deleted = user.execute("delete from tma_chat_settings").rowcount

    assert (changed, seen, deleted) == (1, [{"muted": ["mine"]}], 1)
    assert everything(database) == [{"telegram_id": ME + 1, "timezone": None, "muted": ["theirs"]}]


@pytest.mark.parametrize("header", [None, "garbage", init_data(age=90_000)])
def test_nobody_sets_nothing(user: Connection, database: Connection, header: str | None) -> None:
    """Without a proof nothing is seen, and a write is told how to prove."""
    upsert(user, muted=["mine"])
    become(user, header)

    for columns in ({"muted": ["x"]}, {"telegram_id": ME, "muted": ["x"]}):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="proves no") as no:
            upsert(user, **columns)
        assert "x-telegram-init-data" in str(no.value.diag.message_hint)
    assert user.execute("select from tma_chat_settings").fetchall() == []
    assert user.execute("delete from tma_chat_settings").rowcount == 0
    assert everything(database)[0]["muted"] == ["mine"]


def test_open_inserts_open_no_settings(user: Connection, database: Connection) -> None:
    """While a project moves from an open policy, its strangers mute nobody."""
    database.execute("update bridge.settings set allow_unverified = true")
    become(user, None)

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        upsert(user, telegram_id=ME, muted=["x"])


def test_the_time_of_writing_is_the_databases(user: Connection, database: Connection) -> None:
    """Users cannot say it, and each write counts."""
    database.execute(
        "insert into tma_chat_settings (telegram_id, updated_at) values (%s, '2020-01-01')", [ME]
    )

    changed = upsert(user, muted=["a"])["updated_at"]

    assert changed > datetime.now(UTC) - timedelta(minutes=1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        upsert(user, updated_at="2020-01-01")


# What they may be


@pytest.mark.parametrize(
    "columns",
    [
        {"timezone": "Europe/Kyiv"},
        {"timezone": "+02:00"},
        {"timezone": "-0930"},
        {"timezone": "America/Argentina/Buenos_Aires"},
        {"timezone": None},
        {"quiet_from": "22:00", "quiet_to": "07:00"},
        {"quiet_from": None, "quiet_to": None},
        {"muted": []},
        {"muted": ["x" * 64] * 50},
        {"muted": ["Ж" * 64, "with space"]},
    ],
)
def test_what_settings_may_be(user: Connection, columns: dict[str, Any]) -> None:
    """To their limits."""
    written = upsert(user, **columns)

    assert {name: str(written[name])[:5] for name in columns} == {
        name: str(value)[:5] for name, value in columns.items()
    }


@pytest.mark.parametrize(
    "columns",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": ""},
        {"timezone": "+25:00"},
        {"timezone": "Foo/Bar5"},
        {"timezone": "Europe/Kyiv' or ''='"},
        {"timezone": "x" * 10_000},
        {"quiet_from": "22:00"},
        {"quiet_to": "22:00"},
        {"quiet_from": "22:00", "quiet_to": "22:00"},
        {"quiet_from": "00:00", "quiet_to": "24:00"},
        {"muted": ["a"] * 51},
        {"muted": ["a"] * 10_000},
        {"muted": ["x" * 65]},
        {"muted": [""]},
        {"muted": ["a", None]},
        {"muted": [["a"], ["b"]]},
    ],
    ids=str,
)
def test_what_settings_may_not_be(
    user: Connection, database: Connection, columns: dict[str, Any]
) -> None:
    """Refused with 400 and a reason, when made and when changed."""
    for _ in range(2):
        with pytest.raises(psycopg.errors.CheckViolation) as no:
            upsert(user, **columns)
        assert len(str(no.value)) < 500
        upsert(user, muted=["before"])
    assert everything(database)[0]["muted"] == ["before"]


def test_one_half_of_the_hours_cannot_be_taken_away(user: Connection) -> None:
    """What counts is the row as it would be."""
    upsert(user, quiet_from="22:00", quiet_to="07:00")

    with pytest.raises(psycopg.errors.CheckViolation, match="two times"):
        user.execute("update tma_chat_settings set quiet_to = null")
    assert user.execute("update tma_chat_settings set quiet_to = '08:00'").rowcount == 1


def test_muted_cannot_be_null(user: Connection) -> None:
    """Nothing muted is an empty list."""
    with pytest.raises(psycopg.errors.NotNullViolation):
        upsert(user, muted=None)


@pytest.mark.parametrize(
    "assignment",
    [
        "timezone = 'Mars/Olympus'",
        "timezone = null",
        "quiet_from = '22:00'",
        "quiet_from = '07:00', quiet_to = '07:00'",
        "quiet_from = '00:00', quiet_to = '24:00'",
    ],
)
def test_an_operators_slip_is_refused(database: Connection, assignment: str) -> None:
    """Defaults that mean nothing would be noticed at night."""
    with pytest.raises(psycopg.errors.IntegrityError):
        database.execute(f"update bridge.settings set {assignment}")


# In force at once


def test_quiet_hours_that_end_let_rows_go(
    user: Connection, database: Connection, worker: Worker
) -> None:
    """What the night held goes when its user is awake: all of the chat, and the bell rings."""
    upsert(user, **DAY)
    events = [insert(database, telegram_id=ME) for _ in range(5)]
    assert worker.claim() == []
    assert read(database, events[0])["held_by"] == "quiet"
    database.execute("delete from realtime.messages")

    upsert(user, quiet_from=None, quiet_to=None)

    assert database.execute("delete from realtime.messages").rowcount == 1
    assert [row["id"] for row in worker.claim()] == [events[0]]
    front = [event for event in events if not read(database, event)["behind"]]
    assert front == events[:3]


@pytest.mark.parametrize("how", ["delete", "mute"])
def test_other_changes_count_too(
    user: Connection, database: Connection, worker: Worker, how: str
) -> None:
    """Settings that are gone, and a type that is muted while it waits."""
    upsert(user, **DAY)
    event = insert(database, telegram_id=ME)
    worker.claim()

    if how == "delete":
        user.execute("delete from tma_chat_settings")
    else:
        upsert(user, muted=["step_completed"])
    claimed = worker.claim()

    assert bool(claimed) == (how == "delete")
    assert read(database, event)["status"] == ("processing" if claimed else "muted")


def test_a_row_that_failed_goes_on_waiting(
    user: Connection, database: Connection, worker: Worker
) -> None:
    """Settings shorten no pause that Telegram asked for."""
    event = insert(database, telegram_id=ME)
    (claimed,) = worker.claim()
    worker.settle(
        {"id": event, "attempt": claimed["attempt"], "status": "pending", "retry_in": 900}
    )
    before = read(database, event)["retry_at"]

    upsert(user, **DAY)
    upsert(user, quiet_from=None, quiet_to=None)

    assert read(database, event)["retry_at"] == before


def test_nobody_is_woken_where_nothing_waits(user: Connection, database: Connection) -> None:
    """A slider that writes at every move costs the bridges nothing."""
    database.execute("delete from realtime.messages")

    upsert(user, **DAY)
    upsert(user, muted=["a"])

    assert database.execute("delete from realtime.messages").rowcount == 0


def test_others_rows_go_on_waiting(user: Connection, database: Connection, worker: Worker) -> None:
    """Each chat's settings are its own."""
    upsert(database, telegram_id=ME + 1, **DAY)
    event = insert(database, telegram_id=ME + 1)
    worker.claim()

    upsert(user, **DAY)
    user.execute("delete from tma_chat_settings")

    assert read(database, event)["held_by"] == "quiet"


def test_the_service_writes_for_whom_it_wants(worker: Worker, database: Connection) -> None:
    """A group has no user who could; and a bot may ask in the chat."""
    upsert(worker.connection, telegram_id=-100123, muted=["step_due"])

    assert json.dumps(everything(database)) == json.dumps(
        [{"telegram_id": -100123, "timezone": None, "muted": ["step_due"]}]
    )
