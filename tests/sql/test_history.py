"""What bridge.event_history keeps: attempts that did not deliver, and retries by hand."""

from typing import Any

import pytest

from tests.sql.support import Connection, Row, Worker, delivered, failed, insert, put_back, retry


def history(worker: Worker, event: int) -> list[Row]:
    """The lines of a row, as its page shows them."""
    (row,) = worker.call("tma_event_details", event)
    lines: list[Row] = row["answer"]["history"]
    return lines


def ends(worker: Worker, event: int) -> list[tuple[Any, ...]]:
    """In short."""
    return [
        (line["attempt"], line["was"], line["became"], line["failure"], line["error"])
        for line in history(worker, event)
    ]


def test_nothing_is_written_for_a_row_that_goes_through(
    database: Connection, worker: Worker
) -> None:
    """Inserted, claimed, started, delivered."""
    event = insert(database)
    (row,) = worker.claim()
    worker.start(row)
    worker.settle(delivered(row))

    assert history(worker, event) == []


def test_each_attempt_that_did_not_deliver_has_a_line(database: Connection, worker: Worker) -> None:
    """Put back, lost with its worker, failed, opened again, handed back: in their order."""
    event = insert(database)
    (row,) = worker.claim()
    worker.settle(retry(row, error="Bad Gateway"))
    worker.claim()
    put_back(database, 1000, event)
    worker.recover(1)
    (row,) = worker.claim()
    worker.start(row)
    worker.settle(failed(row))
    worker.call("retry_tma_events", None, "blocked")
    (row,) = worker.claim()
    worker.release(row)
    (row,) = worker.claim()
    worker.settle(delivered(row))

    assert ends(worker, event) == [
        (1, "processing", "pending", None, "Bad Gateway"),
        (2, "processing", "pending", None, "the worker that had claimed it went away"),
        (3, "processing", "failed", "blocked", "bot was blocked"),
        (3, "failed", "pending", None, None),
        (4, "processing", "pending", None, None),
    ]


def test_a_line_says_whether_something_may_have_been_sent(
    database: Connection, worker: Worker
) -> None:
    """The fence of the attempt, which the row itself forgets; and until when it waits."""
    event = insert(database)
    (row,) = worker.claim()
    worker.start(row)
    worker.settle(retry(row, after=60))

    (line,) = history(worker, event)

    assert line["claimed_at"] <= line["send_started_at"] <= line["at"] < line["retry_at"]


def test_the_latest_lines_are_kept(database: Connection, worker: Worker) -> None:
    """A row that is put back for ever does not fill the disk."""
    event = insert(database)
    for _ in range(53):
        (row,) = worker.claim()
        worker.settle(retry(row))

    assert [line["attempt"] for line in history(worker, event)] == list(range(4, 54))


@pytest.mark.parametrize(
    "gone",
    [
        "select public.purge_tma_events('0')",
        "delete from tma_events",
        "truncate tma_events restart identity",
    ],
)
def test_it_goes_with_its_row(database: Connection, worker: Worker, gone: str) -> None:
    """However the row goes, and none but its own."""
    insert(database)
    (row,) = worker.claim()
    worker.settle(failed(row))
    put_back(database, 10, row["id"])

    database.execute(gone)

    assert database.execute("select from bridge.event_history").fetchall() == []


def test_a_purge_leaves_that_of_other_rows(database: Connection, worker: Worker) -> None:
    """Only what is old goes."""
    for chat in (1, 2):
        insert(database, telegram_id=chat)
    for row in worker.claim():
        worker.settle(failed(row))
    put_back(database, 1000, row["id"])

    worker.call("purge_tma_events", "100 seconds")

    (left,) = database.execute("select event_id from bridge.event_history").fetchall()
    assert left["event_id"] != row["id"]


def test_nothing_of_what_a_row_says_is_in_it(database: Connection, worker: Worker) -> None:
    """Nor to whom."""
    event = insert(
        database, telegram_id=123456, lead_id=98765, dedupe_key="mine", payload={"a": "secret"}
    )
    (row,) = worker.claim()
    worker.settle(failed(row))

    (line,) = database.execute("select h::text as line from bridge.event_history h").fetchall()

    assert str(event) in line["line"]
    assert not [one for one in ("123456", "98765", "mine", "secret") if one in line["line"]]
