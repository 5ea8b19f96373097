"""tma_event_stats: the numbers behind `status` and the metrics."""

from typing import Any

from tests.sql.support import (
    Connection,
    Worker,
    delivered,
    failed,
    insert,
    put_back,
    retry,
)


def stats(worker: Worker) -> dict[str, Any]:
    """What tma_event_stats returns."""
    (row,) = worker.call("tma_event_stats")
    answer: dict[str, Any] = row["answer"]
    return answer


def test_of_an_empty_table(worker: Worker) -> None:
    """Zeros, not nulls: a metric has a value from the start."""
    assert stats(worker) == {
        "pending": 0,
        "scheduled": 0,
        "processing": 0,
        "started": 0,
        "oldest_pending_seconds": 0,
        "delivered_last_hour": 0,
        "withdrawn_last_hour": 0,
        "muted_last_hour": 0,
        "failed_last_hour": {},
        "delivered_per_minute": [0] * 60,
    }


def test_counts_open_rows(database: Connection, worker: Worker) -> None:
    """Due, scheduled, claimed and started rows are told apart."""
    for chat in range(1, 7):
        insert(database, telegram_id=chat)
    insert(database, telegram_id=7, due_in=60)
    claimed = worker.claim(3)
    worker.start(claimed[0])
    worker.settle(retry(claimed[1], after=60))

    numbers = stats(worker)

    assert {name: numbers[name] for name in ("pending", "scheduled", "processing", "started")} == {
        "pending": 4,
        "scheduled": 1,
        "processing": 2,
        "started": 1,
    }


def test_oldest_pending_row(database: Connection, worker: Worker) -> None:
    """The age counts from when a row was due, not from when a reminder was written."""
    insert(database, telegram_id=1, created_in=-5000, due_in=-90)
    insert(database, telegram_id=2, created_in=-50, due_in=-600)
    insert(database, telegram_id=3, created_in=-9000, due_in=900)

    assert 90 <= stats(worker)["oldest_pending_seconds"] < 120


def test_the_last_hour(database: Connection, worker: Worker) -> None:
    """Settled rows are counted by reason and by minute, for an hour."""
    ids = [insert(database, telegram_id=chat) for chat in range(1, 8)]
    rows = worker.claim()
    worker.start(*rows)
    worker.settle(*map(delivered, rows[:4]))
    worker.settle(failed(rows[4]), failed(rows[5]), failed(rows[6], "rejected"))
    put_back(database, 90, ids[1])
    put_back(database, 3570, ids[2])
    put_back(database, 3700, ids[3], ids[4])

    numbers = stats(worker)

    assert numbers["delivered_last_hour"] == 3
    assert numbers["failed_last_hour"] == {"blocked": 1, "rejected": 1}
    assert numbers["delivered_per_minute"] == [1, *[0] * 57, 1, 1]
