"""recover_tma_events: what becomes of rows whose worker went away."""

import psycopg
import pytest

from tests.sql.support import Connection, Worker, delivered, insert, put_back, read, retry


def test_a_row_not_started_goes_back(database: Connection, worker: Worker) -> None:
    """Before the fence nothing was sent: sending is safe, and the lost attempt counts."""
    event = insert(database)
    worker.claim()
    put_back(database, 300, event)

    counts = worker.recover(120)

    (again,) = worker.claim()
    assert (counts["returned"], counts["resent"], counts["uncertain"]) == (1, 0, 0)
    assert (again["id"], again["attempt"], again["retries"]) == (event, 2, 1)


def test_a_started_row_fails_as_uncertain(database: Connection, worker: Worker) -> None:
    """At most once: behind the fence nobody can know, so the row says so and is not sent again."""
    event = insert(database)
    worker.start(*worker.claim())
    put_back(database, 300, event)

    counts = worker.recover(120)

    row = read(database, event)
    assert (counts["returned"], counts["resent"], counts["uncertain"]) == (0, 0, 1)
    assert (row["status"], row["failure"]) == ("failed", "uncertain")
    assert "may have been sent" in row["error"]
    assert worker.claim() == []


def test_at_least_once_resends_a_started_row(database: Connection, worker: Worker) -> None:
    """At least once: the row is sent again, and the lost attempt counts."""
    event = insert(database)
    worker.start(*worker.claim())
    put_back(database, 300, event)

    counts = worker.recover(120, resend=True)

    (again,) = worker.claim()
    assert (counts["returned"], counts["resent"], counts["uncertain"]) == (0, 1, 0)
    assert (again["attempt"], again["retries"]) == (2, 1)
    assert read(database, event)["send_started_at"] is None


@pytest.mark.parametrize("started", [False, True])
def test_a_row_within_its_lease_is_left_alone(
    database: Connection, worker: Worker, *, started: bool
) -> None:
    """A worker that is merely slow keeps its row."""
    event = insert(database)
    (row,) = worker.claim()
    if started:
        worker.start(row)
    put_back(database, 60, event)
    before = read(database, event)

    counts = worker.recover(120)

    assert (counts["returned"], counts["uncertain"]) == (0, 0)
    assert read(database, event) == before


def test_a_row_that_kills_its_worker_is_counted_each_time(
    database: Connection, worker: Worker
) -> None:
    """Whoever claims it can see that it is time to give up."""
    event = insert(database)

    for _ in range(3):
        worker.claim()
        put_back(database, 300, event)
        worker.recover(120)

    (row,) = worker.claim()
    assert (row["attempt"], row["retries"]) == (4, 3)


def test_a_recovered_row_keeps_its_place(database: Connection, worker: Worker) -> None:
    """The row that was first in its chat is first again."""
    first = insert(database)
    insert(database)
    worker.claim()
    put_back(database, 300, first)
    worker.recover(120)

    assert [row["id"] for row in worker.claim()] == [first]


def test_does_not_wait_for_a_row_that_is_being_settled(
    sql_dsn: str, database: Connection, worker: Worker
) -> None:
    """A stale row that somebody has in hand just now is left to him."""
    event = insert(database)
    (row,) = worker.claim()
    put_back(database, 300, event)

    with Worker(sql_dsn, autocommit=False) as late:
        late.start(row)
        counts = worker.recover(120)
        late.commit()

    assert counts["returned"] == 0
    assert read(database, event)["send_started_at"] is not None


def test_says_when_the_next_row_is_due(database: Connection, worker: Worker) -> None:
    """The nearest of scheduled rows and retries, so that nobody has to look before."""
    insert(database, telegram_id=1, due_in=900)
    insert(database, telegram_id=2)
    now = worker.recover()["next_due_seconds"]
    (row,) = worker.claim()
    worker.settle(retry(row, after=300))

    waiting = worker.recover()["next_due_seconds"]
    database.execute("update tma_events set retry_at = null, deliver_after = now() + '1 day'")
    scheduled = worker.recover()["next_due_seconds"]

    assert now == 0
    assert 200 < waiting <= 300
    assert 80_000 < scheduled <= 86_400


def test_a_row_that_waits_for_another_of_its_chat_is_not_due(
    database: Connection, worker: Worker
) -> None:
    """A claim would find nothing: what counts is when the row before it goes."""
    insert(database, telegram_id=1)
    (row,) = worker.claim()
    worker.settle(retry(row, after=300))
    insert(database, telegram_id=1)

    assert 200 < worker.recover()["next_due_seconds"] <= 300


def test_says_when_the_next_lease_ends(database: Connection, worker: Worker) -> None:
    """Whoever sweeps then, and not half a minute later, hands a dead worker's row on."""
    event = insert(database, telegram_id=1)
    insert(database, telegram_id=2, due_in=900)
    worker.claim()
    put_back(database, 20, event)

    assert 80 < worker.recover(120)["next_due_seconds"] <= 100


def test_says_nothing_of_a_next_row_when_none_is_open(database: Connection, worker: Worker) -> None:
    """Settled rows are not waited for."""
    insert(database)
    (row,) = worker.claim()
    worker.settle(delivered(row))

    assert worker.recover()["next_due_seconds"] is None


@pytest.mark.parametrize(("lease", "resend"), [("-1 second", False), (None, False), ("1 s", None)])
def test_refuses_senseless_arguments(
    worker: Worker, lease: str | None, *, resend: bool | None
) -> None:
    """A lease in the future would take every row from its worker."""
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        worker.call("recover_tma_events", lease, resend)
