"""Why a row waits, and when its turn comes: the `turn` of tma_event_details."""

import pytest

from tests.sql.support import Connection, Row, Worker, delivered, insert, limits, put_back, retry


def turn(worker: Worker, event: int) -> Row:
    """As the row's page gets it."""
    (row,) = worker.call("tma_event_details", event)
    found: Row = row["answer"]["turn"]
    return found


def test_a_row_whose_turn_is_now(database: Connection, worker: Worker) -> None:
    """It waits for nothing but the next claim."""
    event = insert(database)

    assert turn(worker, event) == {
        "why": None,
        "seconds": 0,
        "before": 0,
        "first_id": None,
        "heads": 0,
    }


def test_only_a_pending_row_waits(database: Connection, worker: Worker) -> None:
    """Not one that is in flight, nor one that has ended."""
    event = insert(database)
    (row,) = worker.claim()
    in_flight = turn(worker, event)
    worker.settle(delivered(row))

    assert in_flight is turn(worker, event) is None


def test_its_place_in_its_chat(database: Connection, worker: Worker) -> None:
    """Behind the row in flight and those of its class before it; not behind those of others."""
    first, second, third, later = (insert(database, telegram_id=1) for _ in range(4))
    insert(database, telegram_id=2, created_in=-60, due_in=-60)
    worker.claim()

    told = [(turn(worker, row)["before"], turn(worker, row)["first_id"]) for row in (third, later)]

    assert told == [(2, first), (3, first)]
    assert turn(worker, second)["before"] == 1


def test_urgent_rows_of_its_chat_go_before_it(database: Connection, worker: Worker) -> None:
    """Those that are due, first of all; bulk does not."""
    event = insert(database)
    insert(database, priority=-1)
    insert(database, priority=1, due_in=3600)
    urgent = insert(database, priority=1)

    found = turn(worker, event)

    assert (found["before"], found["first_id"]) == (1, urgent)


def test_a_scheduled_row(database: Connection, worker: Worker) -> None:
    """Until it is due."""
    found = turn(worker, insert(database, due_in=100))

    assert found["why"] == "scheduled"
    assert 95 < found["seconds"] <= 100


def test_a_row_that_is_tried_again(database: Connection, worker: Worker) -> None:
    """Its own pause; and the one behind it waits as long."""
    event, behind = insert(database), insert(database)
    (row,) = worker.claim()
    worker.settle(retry(row, after=100, error="Bad Gateway"))

    own, other = turn(worker, event), turn(worker, behind)

    assert (own["why"], other["why"]) == ("retry", "rows_before")
    assert 95 < own["seconds"] <= 100
    assert 95 < other["seconds"] <= 100


def test_a_row_that_is_held_says_by_what(database: Connection, worker: Worker) -> None:
    """As a later version writes down: quiet hours, or others to go with it."""
    event = insert(database)
    with database.transaction(force_rollback=True):
        database.execute(
            "update tma_events set held_by = 'quiet', retry_at = now() + interval '1 hour'"
        )
        found = database.execute("select tma_event_details(%s) as row", [event]).fetchone()

    assert found
    assert found["row"]["turn"]["why"] == "quiet"
    assert 3500 < found["row"]["turn"]["seconds"] <= 3600


def test_its_chats_pace(database: Connection, worker: Worker) -> None:
    """Each row before it takes an interval; a burst goes at once."""
    rows = [insert(database) for _ in range(20)]
    (row,) = worker.ask(limits=limits())["rows"]
    worker.start(row)
    worker.settle(delivered(row))

    near, far = turn(worker, rows[1]), turn(worker, rows[-1])

    assert near["why"] is None
    assert far["why"] == "chat_pace"
    assert far["seconds"] == pytest.approx(17, abs=2)


def test_a_groups_pace(database: Connection, worker: Worker) -> None:
    """Twenty a minute, and no burst."""
    rows = [insert(database, telegram_id=-5) for _ in range(3)]
    (row,) = worker.ask(limits=limits())["rows"]
    worker.start(row)
    worker.settle(delivered(row))

    assert turn(worker, rows[2])["seconds"] == pytest.approx(6, abs=0.5)


def test_a_pause_of_its_chat(database: Connection, worker: Worker) -> None:
    """Telegram asked for it; other chats go on."""
    event, other = insert(database, telegram_id=1), insert(database, telegram_id=2)
    row = next(row for row in worker.claim() if row["id"] == event)
    worker.settle(retry(row, pause=50))
    put_back(database, 200, other)
    worker.recover(100)

    assert turn(worker, event)["why"] == "chat_paused"
    assert 45 < turn(worker, event)["seconds"] <= 50
    assert turn(worker, other)["seconds"] == 0


def test_a_pause_of_the_bot(database: Connection, worker: Worker) -> None:
    """Everybody waits."""
    event = insert(database)
    database.execute("update bridge.bot_pace set paused_until = now() + interval '30 seconds'")

    found = turn(worker, event)

    assert found["why"] == "bot_paused"
    assert 25 < found["seconds"] <= 30


def test_the_bots_pace(database: Connection, worker: Worker) -> None:
    """Three hundred chats before it, at thirty a second."""
    worker.ask(limits=limits())
    database.execute(
        "insert into tma_events (telegram_id, event_type, deliver_after)"
        " select 1000 + n, 'tea', now() - interval '1 minute' from generate_series(1, 300) n"
    )
    event = insert(database)

    found = turn(worker, event)

    assert (found["why"], found["heads"]) == ("bot_pace", 300)
    assert found["seconds"] == pytest.approx(10.2, abs=0.5)


def test_a_chat_with_very_many_rows_is_counted_to_a_thousand(
    database: Connection, worker: Worker
) -> None:
    """Whoever wrote them all does not make the page wait."""
    database.execute(
        "insert into tma_events (telegram_id, event_type)"
        " select 1, 'tea' from generate_series(1, 1200)"
    )

    assert turn(worker, insert(database))["before"] == 1000
