"""What an operator looks at: recent_tma_events, count_failed_tma_events and tma_backlog."""

from typing import Any

from tests.sql.support import Connection, Worker, delivered, failed, insert, put_back


def end(database: Connection, worker: Worker, outcome: Any = delivered, **columns: Any) -> int:
    """A row of a chat of its own that has ended."""
    event = insert(database, **columns)
    (row,) = worker.claim()
    worker.settle(outcome(row))
    return event


def test_recent_rows_come_in_the_order_they_ended(database: Connection, worker: Worker) -> None:
    """The last one last, with how long it took since it was due."""
    first = end(database, worker, telegram_id=1, created_in=-90, due_in=-60)
    second = end(database, worker, failed, telegram_id=2)

    told, failure = worker.call("recent_tma_events", 3600)

    assert (told["id"], told["status"], told["attempt"]) == (first, "delivered", 1)
    assert 59 < told["took_seconds"] < 70
    assert (failure["id"], failure["failure"], failure["error"]) == (
        second,
        "blocked",
        "bot was blocked",
    )


def test_recent_rows_tell_nothing_of_the_user(database: Connection, worker: Worker) -> None:
    """Neither chat nor payload: the bridge's role may not read those."""
    end(database, worker, payload={"secret": "of the user"})

    (row,) = worker.call("recent_tma_events", 3600)

    assert not {"payload", "telegram_id", "lead_id"} & set(row)


def test_only_recent_rows_and_only_the_latest(database: Connection, worker: Worker) -> None:
    """Bounded by time and by number."""
    old, middle, new = (end(database, worker, telegram_id=chat) for chat in (1, 2, 3))
    put_back(database, 7200, old)

    in_time = [row["id"] for row in worker.call("recent_tma_events", 3600)]
    latest = [row["id"] for row in worker.call("recent_tma_events", 3600, 1)]

    assert (in_time, latest) == ([middle, new], [new])


def test_failures_are_counted_as_a_retry_would_take_them(
    database: Connection, worker: Worker
) -> None:
    """With the same filters, which narrow each other."""
    uncertain = end(database, worker, lambda row: failed(row, "uncertain"), telegram_id=1)
    for chat in (2, 3):
        end(database, worker, failed, telegram_id=chat)
    end(database, worker, telegram_id=4)

    def counted(**filters: Any) -> Any:
        arguments = ", ".join(f"{name} => %({name})s" for name in filters)
        row = worker.connection.execute(
            f"select public.count_failed_tma_events({arguments}) as counts", filters
        ).fetchone()
        assert row
        return row["counts"]

    assert counted(p_until="tomorrow") == {"uncertain": 1, "blocked": 2}
    assert counted(p_ids=[uncertain]) == {"uncertain": 1}
    assert counted(p_failure="blocked") == {"blocked": 2}
    assert counted(p_since="tomorrow") == {}


def test_the_backlog_of_every_lane(database: Connection, worker: Worker) -> None:
    """What is due and open; nothing that is scheduled, taken or done."""
    end(database, worker, telegram_id=1)
    insert(database, telegram_id=2, created_in=-60, due_in=-60)
    insert(database, telegram_id=3)
    worker.claim(1)
    insert(database, telegram_id=4, due_in=3600)
    insert(database, "plan_requests", created_in=-30)

    (row,) = worker.call("tma_backlog")

    events, plans = row["answer"]["tma_events"], row["answer"]["plan_requests"]
    assert (events["pending"], events["processing"], plans["pending"]) == (1, 1, 1)
    assert events["oldest_pending_seconds"] < 30 <= plans["oldest_pending_seconds"]
