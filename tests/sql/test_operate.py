"""What an operator does: retry, withdraw, purge."""

from typing import Any

import psycopg
import pytest

from tests.sql.support import Connection, Worker, delivered, failed, insert, put_back, read
from tests.sql.support import retry as again


def fail(database: Connection, worker: Worker, failure: str = "blocked", **columns: Any) -> int:
    """A row that has failed, for a chat of its own."""
    event = insert(database, **columns)
    (row,) = worker.claim()
    worker.settle(failed(row, failure))
    return event


def retry(worker: Worker, **filters: Any) -> set[int]:
    """Call retry_tma_events with named arguments, as PostgREST does."""
    arguments = ", ".join(f"{name} => %({name})s" for name in filters)
    rows = worker.connection.execute(
        f"select public.retry_tma_events({arguments}) as id", filters
    ).fetchall()
    return {row["id"] for row in rows}


def test_retry_gives_another_chance(database: Connection, worker: Worker) -> None:
    """A retried row is as good as new, except that its token goes on growing."""
    event = fail(database, worker, created_in=-600, due_in=-600)

    retried = retry(worker, p_ids=[event])

    (row,) = worker.claim()
    assert retried == {event}
    assert (row["id"], row["attempt"], row["retries"]) == (event, 2, 0)
    assert row["waited_seconds"] < 60
    assert read(database, event)["error"] is None


def test_retry_by_failure(database: Connection, worker: Worker) -> None:
    """All rows that failed for one reason."""
    blocked = fail(database, worker, "blocked", telegram_id=1)
    fail(database, worker, "rejected", telegram_id=2)

    assert retry(worker, p_failure="blocked") == {blocked}


def test_retry_by_time(database: Connection, worker: Worker) -> None:
    """All rows that failed in a span of time, for example an outage."""
    old, outage, new = (fail(database, worker, telegram_id=chat) for chat in (1, 2, 3))
    put_back(database, 7200, old)
    put_back(database, 3600, outage)
    times = {
        row["name"]: row["time"]
        for row in database.execute(
            "select name, now() - make_interval(mins => ago) as time"
            " from (values ('since', 90), ('until', 30)) spans (name, ago)"
        )
    }

    until = retry(worker, p_until=times["until"], p_since=times["since"])
    since = retry(worker, p_since=times["until"])

    assert (until, since) == ({outage}, {new})


def test_filters_narrow_each_other(database: Connection, worker: Worker) -> None:
    """A row must match all that is given."""
    event = fail(database, worker, "blocked")

    assert retry(worker, p_ids=[event], p_failure="rejected") == set()


def test_retry_takes_the_longest_failed_up_to_a_limit(database: Connection, worker: Worker) -> None:
    """An operator can feel his way."""
    events = [fail(database, worker, telegram_id=chat) for chat in (1, 2, 3)]
    put_back(database, 60, events[1])

    assert retry(worker, p_failure="blocked", p_limit=1) == {events[1]}


def test_retry_leaves_other_rows_alone(database: Connection, worker: Worker) -> None:
    """Only failed rows are retried, whatever ids are named."""
    sent = insert(database)
    (row,) = worker.claim()
    worker.start(row)
    worker.settle(delivered(row))
    waiting = insert(database)

    assert retry(worker, p_ids=[sent, waiting]) == set()
    assert read(database, sent)["status"] == "delivered"


def test_a_retried_row_goes_behind_what_its_chat_waits_for(
    database: Connection, worker: Worker
) -> None:
    """Its old place is long gone: what came after it has been sent."""
    old = fail(database, worker, due_in=-600)
    waiting = insert(database, due_in=-5)

    retry(worker, p_ids=[old])

    assert [row["id"] for row in worker.claim()] == [waiting]


def test_retry_without_a_filter_is_refused(worker: Worker) -> None:
    """Retrying everything that ever failed is not what anybody wants by accident."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="needs a filter") as caught:
        retry(worker, p_limit=10)

    assert "p_failure" in caught.value.diag.message_hint


def withdraw(worker: Worker, event_type: str, limit: int = 1000) -> list[int]:
    """Call withdraw_waiting_tma_events."""
    rows = worker.connection.execute(
        "select public.withdraw_waiting_tma_events(%s, %s) as id", [event_type, limit]
    ).fetchall()
    return sorted(row["id"] for row in rows)


def test_what_waits_is_counted_by_type(database: Connection, worker: Worker) -> None:
    """The most first; what is being sent or has ended waits no more."""
    fail(database, worker, event_type="news", telegram_id=1)
    insert(database, event_type="news", telegram_id=2)
    worker.claim()
    insert(database, event_type="news", telegram_id=3)
    for chat, seconds in ((4, 0), (5, 3600)):
        insert(database, event_type="other", telegram_id=chat, due_in=seconds)

    rows = worker.connection.execute("select * from waiting_tma_events()").fetchall()

    assert rows == [
        {"event_type": "other", "events": 2, "scheduled": 1},
        {"event_type": "news", "events": 1, "scheduled": 0},
    ]


def test_a_type_is_withdrawn_in_steps(database: Connection, worker: Worker) -> None:
    """The longest due first, the scheduled last; other types and what is being sent stay."""
    sending = insert(database, event_type="news", telegram_id=1)
    worker.claim()
    later, old, new = (
        insert(database, event_type="news", telegram_id=chat, created_in=-600, due_in=seconds)
        for chat, seconds in ((2, 3600), (3, -600), (4, -60))
    )
    other = insert(database, event_type="other", telegram_id=5)

    assert withdraw(worker, "news", 1) == [old]
    assert withdraw(worker, "news", 2) == sorted([new, later])
    assert withdraw(worker, "news") == []
    assert read(database, sending)["status"] == "processing"
    assert read(database, later)["status"] == "withdrawn"
    assert read(database, other)["status"] == "pending"


def test_a_chat_goes_on_with_what_was_not_withdrawn(database: Connection, worker: Worker) -> None:
    """However many of its rows stood before it."""
    for _ in range(5):
        insert(database, event_type="news", telegram_id=1)
    other = insert(database, event_type="other", telegram_id=1)

    withdraw(worker, "news")

    assert [row["id"] for row in worker.claim()] == [other]


def test_a_withdrawal_rings_for_what_waited_behind(database: Connection, worker: Worker) -> None:
    """The first waited for its retry; the next may go now."""
    head = insert(database)
    (row,) = worker.claim()
    worker.settle(again(row, 3600))
    insert(database)
    database.execute("delete from realtime.messages")

    worker.connection.execute("select withdraw_tma_events(%s)", [[head]])
    worker.connection.execute("select withdraw_tma_events(%s)", [[head]])

    assert database.execute("delete from realtime.messages").rowcount == 1


def test_purge_deletes_old_settled_rows(database: Connection, worker: Worker) -> None:
    """Delivered and failed rows go once they are older than what is kept."""
    old, young = fail(database, worker, telegram_id=1), fail(database, worker, telegram_id=2)
    sent = insert(database, telegram_id=3)
    (row,) = worker.claim()
    worker.start(row)
    worker.settle(delivered(row))
    put_back(database, 86400, old, sent)

    (purged,) = worker.call("purge_tma_events", "12 hours", 100)

    left = database.execute("select id from public.tma_events").fetchall()
    assert purged["answer"] == 2
    assert left == [{"id": young}]


def test_purge_never_deletes_open_rows(database: Connection, worker: Worker) -> None:
    """However old, what is not settled stays."""
    pending, processing = insert(database, telegram_id=1), insert(database, telegram_id=2)
    worker.claim(1)
    put_back(database, 10**7, pending, processing)

    (purged,) = worker.call("purge_tma_events", "0", 100)

    assert purged["answer"] == 0


def test_purge_goes_in_steps(database: Connection, worker: Worker) -> None:
    """The oldest first, up to a limit, so that no call takes long."""
    events = [fail(database, worker, telegram_id=chat) for chat in (1, 2, 3)]
    put_back(database, 60, *events)
    put_back(database, 60, events[2])

    (purged,) = worker.call("purge_tma_events", "30 seconds", 1)

    left = database.execute("select id from public.tma_events order by id").fetchall()
    assert (purged["answer"], left) == (1, [{"id": events[0]}, {"id": events[1]}])


def test_purge_forgets_the_dedupe_key(database: Connection, worker: Worker) -> None:
    """A key is remembered as long as its row."""
    event = fail(database, worker, dedupe_key="step-7")
    put_back(database, 60, event)
    worker.call("purge_tma_events", "30 seconds", 10)

    assert insert(database, dedupe_key="step-7") > event


@pytest.mark.parametrize("keep", [None, "-1 second"])
def test_purge_refuses_a_senseless_time(worker: Worker, keep: str | None) -> None:
    """Keeping less than nothing would be a mistake."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_keep"):
        worker.call("purge_tma_events", keep, 10)
