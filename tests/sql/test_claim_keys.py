"""A claim is carried out once under its key; asked again it says the same."""

from uuid import uuid4

import psycopg
import pytest

from tests.sql.support import Connection, Row, Worker, delivered, insert, limits, read, retry


def tokens(rows: list[Row]) -> list[tuple[int, int, bool]]:
    """What matters of claimed rows."""
    return [(row["id"], row["attempt"], row["started"]) for row in rows]


def test_a_lost_answer_is_fetched_again(database: Connection, worker: Worker) -> None:
    """The same rows with the same tokens, started or not, and no others."""
    for chat in range(1, 6):
        insert(database, telegram_id=chat)
    key = uuid4()

    first = worker.claim(3, key=key, start_now=2)
    again = worker.ask(100, key=key, start_now=0)

    assert tokens(again["rows"]) == tokens(first)
    assert [row["started"] for row in first] == [True, True, False]
    assert again["next_seconds"] == 0


def test_turns_are_told_again(database: Connection, worker: Worker) -> None:
    """Each from now on."""
    for chat in range(1, 6):
        insert(database, telegram_id=chat)
    key = uuid4()
    slow = limits(bot_per_second=10)

    first = worker.claim(5, key=key, limits=slow)
    again = worker.claim(5, key=key, limits=slow)

    assert [row["turn_at"] for row in again] == [row["turn_at"] for row in first]
    assert again[-1]["turn_in"] < first[-1]["turn_in"]


def test_an_empty_claim_stays_empty(database: Connection, worker: Worker) -> None:
    """A call that arrives late takes nothing for a worker that does not wait for it any more."""
    key = uuid4()
    worker.claim(key=key)
    event = insert(database)

    assert worker.claim(key=key) == []
    assert [row["id"] for row in worker.claim()] == [event]


def test_only_what_it_still_holds_is_told(database: Connection, worker: Worker) -> None:
    """Not what has been settled, handed back, or claimed again since."""
    for chat in range(1, 5):
        insert(database, telegram_id=chat)
    key = uuid4()
    sent, later, back, held = worker.claim(key=key)
    worker.settle(delivered(sent), retry(later))
    worker.release(back)
    others = worker.claim()

    assert {row["id"] for row in others} == {later["id"], back["id"]}
    assert [row["id"] for row in worker.claim(key=key)] == [held["id"]]


def test_a_claim_needs_a_key(worker: Worker) -> None:
    """Without one its answer could not be fetched again."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_key"):
        worker.call("claim_tma_events", 1, None)


def test_the_sweep_forgets_old_keys(database: Connection, worker: Worker) -> None:
    """After ten minutes nobody asks again."""
    old, new = uuid4(), uuid4()
    worker.claim(key=old)
    worker.claim(key=new)
    database.execute(
        "update bridge.claim_keys set claimed_at = now() - interval '11 minutes' where key = %s",
        [old],
    )

    worker.call("sweep_tma", "1 minute", False)

    assert database.execute("select key from bridge.claim_keys").fetchall() == [{"key": new}]


# The fence within the claim


def test_rows_whose_turn_is_now_come_started(database: Connection, worker: Worker) -> None:
    """Those that must wait pass the fence when their turn comes."""
    for chat in range(1, 4):
        insert(database, telegram_id=chat)

    rows = worker.claim(limits=limits(bot_per_second=10), start_now=100)

    assert [row["started"] for row in rows] == [True, False, False]
    first, second, _ = (read(database, row["id"]) for row in rows)
    assert first["send_started_at"] == first["claimed_at"]
    assert second["send_started_at"] is None
    assert worker.start(*rows) == {row["id"] for row in rows[1:]}


def test_no_more_are_started_than_asked(database: Connection, worker: Worker) -> None:
    """A worker says how many it can send at once; eight if it does not say."""
    for chat in range(1, 21):
        insert(database, telegram_id=chat)

    some = worker.claim(5, start_now=2)
    (row,) = worker.call("claim_tma_events", 15, uuid4())

    assert [claimed["started"] for claimed in some] == [True, True, False, False, False]
    assert sum(claimed["started"] for claimed in row["answer"]["rows"]) == 8


@pytest.mark.parametrize("number", [-1, 101, None])
def test_refuses_a_senseless_number_to_start(worker: Worker, number: int | None) -> None:
    """With the number in the error."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_start_now must be between"):
        worker.ask(start_now=number)  # type: ignore[arg-type]
