"""What a user can do about an event that waits: take it back, or give it another time."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.signing import USER, init_data
from tests.sql.support import Connection, Row, Worker, delivered, insert, put_back, read
from tests.sql.test_access import ME, become, send

HOUR = timedelta(hours=1)


@pytest.fixture
def user(anon: Connection) -> Connection:
    """A Mini App's session of a verified user."""
    become(anon, init_data())
    return anon


def withdraw(user: Connection, key: str | None = "k") -> Any:
    """What the caller is told."""
    row = user.execute("select withdraw_tma_event(%s) as answer", [key]).fetchone()
    assert row
    return row["answer"]


def reschedule(user: Connection, at: str | None, key: str = "k") -> Any:
    """What the caller is told; `at` is an SQL expression's value, for example `tomorrow`."""
    row = user.execute(
        "select reschedule_tma_event(%s, %s::timestamptz) as answer", [key, at]
    ).fetchone()
    assert row
    return row["answer"]


def now(connection: Connection) -> datetime:
    """The time of the database's clock."""
    row = connection.execute("select now() as at").fetchone()
    assert row
    at: datetime = row["at"]
    return at


def allow(database: Connection, waiting: int, scheduled: int) -> None:
    """Set how many rows of a user may be open."""
    database.execute(
        "update bridge.settings set max_pending_per_user = %s, max_scheduled_per_user = %s",
        [waiting, scheduled],
    )


def rings(database: Connection) -> int:
    """How often the bell has rung since this was asked last."""
    return database.execute("delete from realtime.messages").rowcount


# Withdrawing


def test_what_is_withdrawn_is_not_sent(
    user: Connection, database: Connection, worker: Worker
) -> None:
    """It ends in a state of its own, which the app can show."""
    (event,) = send(user, dedupe_key="k")

    answer = withdraw(user)

    assert answer == {"id": event["id"], "status": "withdrawn", "done": True}
    row = read(database, event["id"])
    assert (row["status"], row["failure"], row["dedupe_key"]) == ("withdrawn", None, "k")
    assert row["settled_at"] is not None
    assert worker.claim() == []


def test_withdrawn_again_is_withdrawn(user: Connection) -> None:
    """An app whose answer got lost asks again."""
    send(user, dedupe_key="k")

    assert withdraw(user) == withdraw(user)


def test_what_is_being_sent_is_not_withdrawn(
    user: Connection, database: Connection, worker: Worker
) -> None:
    """And the caller is told so, then and afterwards."""
    (event,) = send(user, dedupe_key="k")
    (claimed,) = worker.claim()

    sending = withdraw(user)
    worker.settle(delivered(claimed))

    assert sending == {"id": event["id"], "status": "processing", "done": False}
    assert withdraw(user) == {"id": event["id"], "status": "delivered", "done": False}


def test_what_was_claimed_once_is_not_withdrawn(user: Connection, worker: Worker) -> None:
    """It is pending again, but may have been sent by whoever held it."""
    send(user, dedupe_key="k")
    worker.release(*worker.claim())

    assert withdraw(user)["done"] is False
    assert reschedule(user, "tomorrow")["done"] is False


@pytest.mark.parametrize("key", ["other", "", None])
def test_what_is_not_there_is_null(user: Connection, key: str | None) -> None:
    """No error: the app asks for what it no longer knows."""
    send(user, dedupe_key="k")
    send(user)

    assert withdraw(user, key) is None


def test_others_rows_are_not_there(user: Connection, database: Connection, worker: Worker) -> None:
    """The key alone opens nothing."""
    insert(database, telegram_id=ME + 1, dedupe_key="k")

    assert withdraw(user) is None
    assert reschedule(user, "tomorrow") is None
    assert len(worker.claim()) == 1


@pytest.mark.parametrize("header", [None, "garbage", init_data(age=90_000)])
def test_nobody_withdraws_nothing(
    user: Connection, database: Connection, header: str | None
) -> None:
    """Without a proof: an error that says how to send it, also where inserts are open to all."""
    database.execute("update bridge.settings set allow_unverified = true")
    become(user, header)

    for call in (lambda: withdraw(user), lambda: reschedule(user, "tomorrow")):
        with pytest.raises(
            psycopg.errors.InsufficientPrivilege, match="proves no Telegram user"
        ) as no:
            call()
        assert "x-telegram-init-data" in str(no.value.diag.message_hint)


def test_the_key_can_be_used_again(user: Connection, database: Connection, worker: Worker) -> None:
    """A reminder that was switched off is switched on again."""
    (first,) = send(user, dedupe_key="k")
    withdraw(user)

    (second,) = send(user, dedupe_key="k")

    assert read(database, first["id"])["dedupe_key"] is None
    assert [row["id"] for row in worker.claim()] == [second["id"]]


def test_only_a_withdrawn_row_gives_its_key_away(user: Connection, worker: Worker) -> None:
    """What waits, is sent or was sent keeps it: the same event is not told twice."""
    send(user, dedupe_key="k")
    with pytest.raises(psycopg.errors.UniqueViolation):
        send(user, dedupe_key="k")
    worker.settle(*map(delivered, worker.claim()))
    with pytest.raises(psycopg.errors.UniqueViolation):
        send(user, dedupe_key="k")


def test_a_refused_insert_frees_no_key(user: Connection, database: Connection) -> None:
    """Neither the user's own nor, by naming somebody else, another's."""
    (mine,) = send(user, dedupe_key="k")
    withdraw(user)
    others = insert(
        database, telegram_id=ME + 1, dedupe_key="k", status="withdrawn", settled_at="now"
    )

    with pytest.raises(psycopg.errors.CheckViolation):
        send(user, event_type="no such form!", dedupe_key="k")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        send(user, telegram_id=ME + 1, dedupe_key="k")

    kept = [read(database, row)["dedupe_key"] for row in (mine["id"], others)]
    assert kept == ["k", "k"]


def test_asking_again_counts_as_a_row(user: Connection, database: Connection) -> None:
    """The key that is there is not that of a row which waits."""
    database.execute("update bridge.settings set max_pending_per_user = 2")
    send(user, dedupe_key="k")
    withdraw(user)
    send(user, rows=2)

    with pytest.raises(psycopg.errors.CheckViolation, match="too many events wait"):
        send(user, dedupe_key="k")


def test_rows_behind_move_up(user: Connection, database: Connection, worker: Worker) -> None:
    """Withdrawing the first rows lets the others go, at once: the bell rings."""
    for key in "abc":
        send(user, dedupe_key=key)
    (last,) = send(user)
    assert read(database, last["id"])["behind"]
    rings(database)

    for key in "abc":
        withdraw(user, key)

    assert rings(database) > 0
    assert [row["id"] for row in worker.claim()] == [last["id"]]


def test_nobody_is_woken_for_nothing(user: Connection, database: Connection) -> None:
    """Where nothing is due the bell does not ring."""
    send(user, dedupe_key="k", deliver_after="tomorrow")
    rings(database)

    reschedule(user, "tomorrow 12:00")
    withdraw(user)
    withdraw(user)

    assert rings(database) == 0


def test_withdrawing_has_a_limit(user: Connection, database: Connection) -> None:
    """It makes room for new rows, so without one a user could fill the table."""
    database.execute(
        "update bridge.settings set max_pending_per_user = 2, max_scheduled_per_user = 1"
    )
    for key in "abc":
        send(user, dedupe_key=key)
        withdraw(user, key)
    (event,) = send(user, dedupe_key="k")

    with pytest.raises(psycopg.errors.CheckViolation, match="ended without being sent"):
        withdraw(user)
    assert withdraw(user, "a")["done"] is True
    hour_old = database.execute("select id from tma_events where status = 'withdrawn'").fetchall()
    put_back(database, 3601, *(row["id"] for row in hour_old))

    assert withdraw(user) == {"id": event["id"], "status": "withdrawn", "done": True}


def test_what_the_service_replaced_does_not_count(user: Connection, database: Connection) -> None:
    """A planner's progress leaves withdrawn rows in the chat, which are not of the user's doing."""
    database.execute(
        "update bridge.settings set max_pending_per_user = 1, max_scheduled_per_user = 0"
    )
    insert(database, telegram_id=ME, replaces="plan:1", status="withdrawn", settled_at="now")
    send(user, dedupe_key="k")

    assert withdraw(user)["done"] is True


# Rescheduling


def test_a_row_gets_another_time(user: Connection, database: Connection, worker: Worker) -> None:
    """Later, and sooner again."""
    (event,) = send(user, dedupe_key="k")

    later = reschedule(user, "tomorrow")
    waiting = worker.claim()
    sooner = reschedule(user, "now")

    assert later == sooner == {"id": event["id"], "status": "pending", "done": True}
    assert waiting == []
    assert [row["id"] for row in worker.claim()] == [event["id"]]


def test_the_past_is_now(user: Connection, database: Connection) -> None:
    """A time in the past would overtake everybody else's rows."""
    (event,) = send(user, dedupe_key="k", deliver_after="tomorrow")
    before = now(database)

    reschedule(user, "-infinity")

    assert read(database, event["id"])["deliver_after"] >= before


def test_a_row_that_comes_soon_rings(user: Connection, database: Connection) -> None:
    """Nobody need wait for the sweep."""
    send(user, dedupe_key="k", deliver_after="tomorrow")
    rings(database)

    reschedule(user, "now")

    assert rings(database) == 1


def test_a_row_that_goes_lets_others_by(
    user: Connection, database: Connection, worker: Worker
) -> None:
    """Put off, it loses its place, and those behind move up."""
    for key in "abc":
        send(user, dedupe_key=key)
    (last,) = send(user)

    for key in "abc":
        reschedule(user, "tomorrow", key)

    assert [row["id"] for row in worker.claim()] == [last["id"]]


def test_a_row_that_is_held_for_the_night_goes_when_it_is_said(
    user: Connection, database: Connection
) -> None:
    """Its old wait says nothing of its new time."""
    (event,) = send(user, dedupe_key="k")
    database.execute("update tma_events set retry_at = 'tomorrow', held_by = 'quiet'")

    reschedule(user, "tomorrow")

    row = read(database, event["id"])
    assert (row["retry_at"], row["held_by"]) == (None, None)


@pytest.mark.parametrize("state", ["processing", "withdrawn"])
def test_what_does_not_wait_keeps_its_time(
    user: Connection, database: Connection, worker: Worker, state: str
) -> None:
    """What is being sent or has ended has none any more, and the caller is told."""
    (event,) = send(user, dedupe_key="k")
    if state == "processing":
        worker.claim()
    else:
        withdraw(user)

    assert reschedule(user, "tomorrow") == {"id": event["id"], "status": state, "done": False}
    assert read(database, event["id"])["deliver_after"] == event["deliver_after"]


@pytest.mark.parametrize("at", ["infinity", "2100-01-01"])
def test_too_far_ahead_is_refused(user: Connection, database: Connection, at: str) -> None:
    """As at the insert."""
    (event,) = send(user, dedupe_key="k")

    with pytest.raises(psycopg.errors.CheckViolation, match="too far ahead"):
        reschedule(user, at)

    assert read(database, event["id"])["deliver_after"] == event["deliver_after"]


def test_no_time_is_refused(user: Connection) -> None:
    """Null would be now, or never."""
    send(user, dedupe_key="k")

    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_at"):
        reschedule(user, None)


def _fill(user: Connection, database: Connection) -> list[Row]:
    """Two rows waiting and two scheduled, which is all that is allowed."""
    database.execute(
        "update bridge.settings set max_pending_per_user = 2, max_scheduled_per_user = 2"
    )
    return [
        send(user, dedupe_key=key, deliver_after=when)[0]
        for key, when in [("a", None), ("b", None), ("c", "tomorrow"), ("d", "tomorrow")]
    ]


def test_rescheduling_passes_no_limit(user: Connection, database: Connection) -> None:
    """Neither that of rows waiting nor that of rows scheduled; and nothing has changed."""
    rows = _fill(user, database)

    with pytest.raises(psycopg.errors.CheckViolation, match="too many events wait"):
        reschedule(user, "now", "c")
    with pytest.raises(psycopg.errors.CheckViolation, match="are scheduled"):
        reschedule(user, "tomorrow", "a")

    assert [read(database, row["id"])["deliver_after"] for row in rows] == [
        row["deliver_after"] for row in rows
    ]


def test_moving_within_what_is_scheduled_is_fine(user: Connection, database: Connection) -> None:
    """It is no row more, also when all is full; nor is putting off when too much waits."""
    _fill(user, database)

    assert reschedule(user, "tomorrow 12:00", "c")["done"]
    database.execute("update bridge.settings set max_pending_per_user = 1")
    assert reschedule(user, "tomorrow 13:00", "c")["done"]
    database.execute("update bridge.settings set max_scheduled_per_user = 3")
    assert reschedule(user, "tomorrow", "a")["done"]


def test_a_row_of_the_users_language_and_lead_stays_as_it_is(
    user: Connection, database: Connection
) -> None:
    """Only its time changes."""
    (event,) = send(user, dedupe_key="k", lead_id=7, payload={"step_id": 3})

    reschedule(user, "tomorrow")

    changed = read(database, event["id"])
    differs = {name for name in event if event[name] != changed[name]}
    assert differs == {"deliver_after"}
    assert changed["locale"] == USER["language_code"]
