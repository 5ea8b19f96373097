"""claim_tma_events: which rows, in which order, and one of a chat at a time."""

import psycopg
import pytest

from tests.sql.support import Connection, Worker, delivered, failed, insert, put_back, read, retry


def test_returns_what_a_message_needs(database: Connection, worker: Worker) -> None:
    """A claimed row comes with its content, its token and how long it was due."""
    event = insert(
        database,
        telegram_id=42,
        event_type="step_skipped",
        lead_id=7,
        payload={"lead_name": "Ann", "reason": "away"},
        locale="uk",
        created_in=-60,
        due_in=-5,
    )

    (row,) = worker.claim()

    assert 5 <= row.pop("waited_seconds") < 30
    assert row.pop("created_at") < row.pop("deliver_after") < row.pop("turn_at")
    assert row == {
        "id": event,
        "telegram_id": 42,
        "chat_id": 42,
        "event_type": "step_skipped",
        "lead_id": 7,
        "lead_name": "Ann",
        "payload": {"lead_name": "Ann", "reason": "away"},
        "locale": "uk",
        "attempt": 1,
        "retries": 0,
        "priority": 0,
        "turn_in": 0,
        "started": False,
        "options": None,
        "edits": None,
        "gathered": None,
    }


def test_marks_the_row(database: Connection, worker: Worker) -> None:
    """Claiming makes a row processing, with the time of the claim and the next attempt."""
    event = insert(database)

    worker.claim()

    row = read(database, event)
    assert (row["status"], row["attempt"], row["send_started_at"]) == ("processing", 1, None)
    assert row["claimed_at"] is not None


def test_gives_a_row_to_one_claim_only(database: Connection, worker: Worker) -> None:
    """What is claimed is not claimed again."""
    insert(database)

    first, second = worker.claim(), worker.claim()

    assert (len(first), second) == (1, [])


def test_takes_the_oldest_due_rows_first(database: Connection, worker: Worker) -> None:
    """Between chats the row that has been due for longest goes first, whenever it was inserted."""
    late = insert(database, telegram_id=1, due_in=-1)
    early = insert(database, telegram_id=2, due_in=-10)
    middle = insert(database, telegram_id=3, due_in=-5)

    claimed = [row["id"] for row in worker.claim(2) + worker.claim(2)]

    assert claimed == [early, middle, late]


def test_never_takes_more_than_asked(database: Connection, worker: Worker) -> None:
    """The limit holds however many rows are due."""
    for chat in range(1, 51):
        insert(database, telegram_id=chat)

    assert len(worker.claim(7)) == 7


def test_leaves_scheduled_rows_alone(database: Connection, worker: Worker) -> None:
    """A row whose time has not come is claimed when it has."""
    event = insert(database, due_in=3600)

    before = worker.claim()
    put_back(database, 3601, event)
    after = worker.claim()

    assert (before, [row["id"] for row in after]) == ([], [event])


def test_takes_one_row_of_a_chat_at_a_time(database: Connection, worker: Worker) -> None:
    """The rows of one chat are handed out one by one, in the order in which they became due."""
    second = insert(database, due_in=-5)
    first = insert(database, due_in=-9)
    third = insert(database, due_in=-5)
    order = []

    for _ in range(3):
        (row,) = worker.claim()
        order.append(row["id"])
        worker.start(row)
        assert worker.claim() == []
        worker.settle(delivered(row))

    assert order == [first, second, third]


def test_other_chats_do_not_wait(database: Connection, worker: Worker) -> None:
    """A chat with many rows takes one place of a claim, not all of them."""
    for _ in range(20):
        insert(database, telegram_id=1, due_in=-100)
    other = insert(database, telegram_id=2)

    claimed = worker.claim(2)

    assert claimed[1]["id"] == other


def test_a_failed_row_does_not_hold_back_its_chat(database: Connection, worker: Worker) -> None:
    """Once a row has failed for good the next of its chat goes."""
    insert(database)
    second = insert(database)
    (row,) = worker.claim()
    worker.settle(failed(row, "rejected"))

    assert [row["id"] for row in worker.claim()] == [second]


def test_a_row_that_waits_for_its_retry_holds_back_its_chat(
    database: Connection, worker: Worker
) -> None:
    """Order in a chat survives a retry: nothing overtakes the row that waits."""
    first = insert(database)
    second = insert(database)
    (row,) = worker.claim()
    worker.settle(retry(row, after=60))

    during = worker.claim()
    put_back(database, 61, first)
    after = worker.claim()

    assert (during, [row["id"] for row in after]) == ([], [first])
    assert read(database, second)["status"] == "pending"


def test_a_scheduled_row_does_not_hold_back_its_chat(database: Connection, worker: Worker) -> None:
    """What is due goes, although a row inserted earlier is scheduled for later."""
    insert(database, due_in=3600)
    due = insert(database)

    assert [row["id"] for row in worker.claim()] == [due]


def test_a_row_that_comes_late_with_an_earlier_place_waits(
    database: Connection, worker: Worker
) -> None:
    """A transaction may commit a row whose place is before one in flight: then it is the next."""
    insert(database)
    (in_flight,) = worker.claim()
    late = insert(database, due_in=-60)

    during = worker.claim()
    worker.start(in_flight)
    worker.settle(delivered(in_flight))

    assert (during, [row["id"] for row in worker.claim()]) == ([], [late])


def test_a_row_that_must_wait_takes_nobodys_turn(database: Connection, worker: Worker) -> None:
    """The limit counts what can be taken; and no sweep calls such a row due."""
    insert(database, telegram_id=1)
    worker.claim()
    insert(database, telegram_id=1, due_in=-60)
    free = insert(database, telegram_id=2)

    assert [row["id"] for row in worker.claim(1)] == [free]
    assert worker.recover()["next_due_seconds"] > 0


def test_a_claim_is_nothing_until_it_is_committed(
    sql_dsn: str, database: Connection, worker: Worker
) -> None:
    """A worker that dies in the middle of claiming leaves the row as it was."""
    event = insert(database)

    with Worker(sql_dsn, autocommit=False) as dying:
        dying.claim()
        dying.connection.rollback()  # as the server does when the connection breaks

    (row,) = worker.claim()
    assert (row["id"], row["attempt"]) == (event, 1)


def test_a_payload_of_null_is_an_empty_object(database: Connection, worker: Worker) -> None:
    """Rows of the older table may have no payload and no time of creation."""
    insert(database, payload=None, created_at=None)

    (row,) = worker.claim()

    assert row["payload"] == {}
    assert row["created_at"] == row["deliver_after"]


@pytest.mark.parametrize("limit", [0, -1, 1001, None])
def test_refuses_a_senseless_limit(worker: Worker, limit: int | None) -> None:
    """A limit that cannot be meant is an error with the number in it."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_limit must be between"):
        worker.ask(limit)  # type: ignore[arg-type]
