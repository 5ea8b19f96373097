"""In place: a row with a key edits the last message of that key, and the newest text wins."""

from typing import Any

import pytest

from tests.sql.support import (
    Connection,
    Row,
    Worker,
    delivered,
    failed,
    insert,
    put_back,
    read,
    retry,
)

KEY = "plan:42"


def say(database: Connection, **columns: Any) -> int:
    """Insert a row that is said in place."""
    return insert(database, **{"replaces": KEY, "due_in": -1} | columns)


def deliver(database: Connection, worker: Worker, message_id: int = 8, **columns: Any) -> Row:
    """Say it, and let it be delivered; the claimed row."""
    say(database, **columns)
    (row,) = worker.claim(start_now=1)
    assert worker.settle(delivered(row, message_id)) == {row["id"]}
    return row


def claim_next(database: Connection, worker: Worker, **columns: Any) -> Row:
    """Say something more; what the claim brings."""
    say(database, **columns)
    (row,) = worker.claim(start_now=1)
    return row


def test_the_first_of_a_key_is_sent(database: Connection, worker: Worker) -> None:
    """There is nothing to edit yet."""
    assert claim_next(database, worker)["edits"] is None


def test_the_next_edits_it(database: Connection, worker: Worker) -> None:
    """And so does the one after that: it is one message that changes."""
    deliver(database, worker, 8)
    second = deliver(database, worker, 8)
    third = claim_next(database, worker)

    assert second["edits"] == 8
    assert third["edits"] == 8


@pytest.mark.parametrize("other", [{"replaces": "plan:43"}, {"telegram_id": 2}], ids=str)
def test_another_key_or_chat_edits_nothing(
    database: Connection, worker: Worker, other: dict[str, Any]
) -> None:
    """A key is of one chat."""
    deliver(database, worker)

    assert claim_next(database, worker, **other)["edits"] is None


@pytest.mark.parametrize("outcome", ["rejected", "uncertain"])
def test_what_was_not_delivered_is_not_edited(
    database: Connection, worker: Worker, outcome: str
) -> None:
    """Nobody knows its message."""
    row = claim_next(database, worker)
    worker.settle(failed(row, outcome))

    assert claim_next(database, worker)["edits"] is None


def test_two_days_count_from_when_it_was_sent(database: Connection, worker: Worker) -> None:
    """Not from the last edit: Telegram refuses to edit what is older than 48 hours."""
    sent = deliver(database, worker)
    put_back(database, 47 * 3600, sent["id"])
    edited = deliver(database, worker, 8)
    put_back(database, 3600, sent["id"], edited["id"])

    late = claim_next(database, worker)

    assert edited["edits"] == 8
    assert late["edits"] is None


def test_a_message_that_is_gone_is_sent_anew(database: Connection, worker: Worker) -> None:
    """The user has deleted it; what comes after edits the new one."""
    deliver(database, worker, 8)
    row = claim_next(database, worker)
    worker.settle(retry(row, edit_lost=True))
    (again,) = worker.claim(start_now=1)
    worker.settle(delivered(again, 9))

    later = claim_next(database, worker)

    assert row["edits"] == 8
    assert again["id"] == row["id"]
    assert again["edits"] is None
    assert later["edits"] == 9


def test_an_edit_is_never_uncertain(database: Connection, worker: Worker) -> None:
    """A worker that died in the middle of one: it is done again, which does no harm."""
    first = deliver(database, worker)
    row = claim_next(database, worker)
    put_back(database, 600, first["id"], row["id"])

    counts = worker.recover(120)

    assert (counts["returned"], counts["uncertain"]) == (1, 0)
    (again,) = worker.claim()
    assert again["id"] == row["id"]
    assert again["edits"] == 8


def test_a_message_that_replaces_none_may_be_uncertain(
    database: Connection, worker: Worker
) -> None:
    """One that is sent anew, because the message to edit is gone, is a send like any other."""
    deliver(database, worker)
    row = claim_next(database, worker)
    worker.settle(retry(row, edit_lost=True))
    (again,) = worker.claim(start_now=1)
    put_back(database, 600, again["id"])

    assert worker.recover(120)["uncertain"] == 1


def test_the_newest_text_wins(database: Connection, worker: Worker) -> None:
    """What has not been said yet when there is something newer is not said at all."""
    events = [say(database) for _ in range(4)]
    (row,) = worker.claim()

    assert row["id"] == events[-1]
    older = [read(database, one) for one in events[:-1]]
    assert {one["status"] for one in older} == {"withdrawn"}
    assert {one["error"] for one in older} == {"replaced by a newer message before it was sent"}


def test_what_is_being_said_is_not_withdrawn(database: Connection, worker: Worker) -> None:
    """It is on its way; the newer one edits it afterwards."""
    say(database)
    (row,) = worker.claim(start_now=1)
    newer = say(database)
    worker.settle(delivered(row, 8))

    (after,) = worker.claim()

    assert after["id"] == newer
    assert after["edits"] == 8


def test_withdrawn_rows_make_room(database: Connection, worker: Worker) -> None:
    """Rows that stood behind them move up."""
    for _ in range(6):
        say(database)
    other = insert(database, due_in=0)

    (row,) = worker.claim()
    worker.settle(delivered(row))
    (last,) = worker.claim()

    assert last["id"] == other


def test_an_operator_sends_anew(database: Connection, worker: Worker) -> None:
    """A retried row asks again which message there is to edit."""
    deliver(database, worker, 8)
    row = claim_next(database, worker)
    worker.settle(retry(row, edit_lost=True))
    (again,) = worker.claim(start_now=1)
    worker.settle(failed(again, "rejected"))

    worker.connection.execute("select retry_tma_events(%s)", [[row["id"]]])

    (retried,) = worker.claim()
    assert retried["edits"] == 8


def texts(worker: Worker, claims: int = 3) -> list[str]:
    """What is told, one claim after the other."""
    told = []
    for _ in range(claims):
        for row in worker.claim(start_now=1):
            told.append(row["payload"]["text"])
            worker.settle(delivered(row, 8))
    return told


def test_an_older_text_does_not_come_back(database: Connection, worker: Worker) -> None:
    """It failed for now, and the newer one, which is urgent, went before it."""
    old = say(database, payload={"text": "Reading the history"})
    (row,) = worker.claim(start_now=1)
    say(database, payload={"text": "The plan"}, priority=1)
    worker.settle(retry(row, 0))

    assert texts(worker) == ["The plan"]
    assert read(database, old)["status"] == "withdrawn"


def test_only_the_newest_of_several_unsent_is_told(database: Connection, worker: Worker) -> None:
    """The older one was in other hands when the newer one came."""
    say(database, payload={"text": "old"})
    (row,) = worker.claim()
    say(database, payload={"text": "new"})
    worker.release(row)

    assert texts(worker) == ["new"]


def test_nobody_retries_a_text_that_has_been_replaced(database: Connection, worker: Worker) -> None:
    """It would stand over the newer one."""
    old = say(database, payload={"text": "Reading the history"})
    (row,) = worker.claim(start_now=1)
    worker.settle(failed(row, "rejected"))
    deliver(database, worker)

    retried = worker.connection.execute("select retry_tma_events(%s)", [[old]]).fetchall()

    assert retried == []
    assert read(database, old)["status"] == "failed"


def test_a_later_time_is_what_counts(database: Connection, worker: Worker) -> None:
    """What was written first, to be told later, is told."""
    later = say(database, due_in=3600)
    deliver(database, worker)
    database.execute(
        "update tma_events set deliver_after = now() - interval '0.1 s' where id = %s", [later]
    )

    (row,) = worker.claim()

    assert (row["id"], row["edits"]) == (later, 8)
