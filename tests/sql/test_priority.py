"""Urgent before normal before bulk, and bulk always gets its share."""

from collections import Counter
from typing import Any

import psycopg
import pytest

from tests.sql.support import Connection, Worker, delivered, insert, limits, put_back, read, retry

URGENT, NORMAL, BULK = 1, 0, -1
SHARE = 10


def fill(database: Connection, rows: int, priority: int, chat: int | None = None) -> None:
    """Insert rows, each of a chat of its own or all of one."""
    database.execute(
        "insert into public.tma_events (telegram_id, event_type, priority, deliver_after)"
        " select coalesce(%s, %s * 1000 + n), 'x', %s, now() - interval '1 minute'"
        " from generate_series(1, %s) n",
        [chat, priority + 2, priority, rows],
    )


def taken(worker: Worker, claims: int, limit: int, **more: Any) -> list[int]:
    """The priorities of what so many claims took."""
    return [row["priority"] for _ in range(claims) for row in worker.claim(limit, **more)]


def order(worker: Worker) -> list[int]:
    """The ids of all rows that can be sent now, one after the other."""
    sent = []
    while rows := worker.claim(1):
        worker.settle(*map(delivered, rows))
        sent += [row["id"] for row in rows]
    return sent


def test_classes_go_in_order(database: Connection, worker: Worker) -> None:
    """However long others have been due."""
    bulk = insert(database, telegram_id=1, priority=BULK, due_in=-60)
    normal = insert(database, telegram_id=2, due_in=-30)
    urgent = insert(database, telegram_id=3, priority=URGENT)

    assert order(worker) == [urgent, normal, bulk]


def test_a_claim_that_has_room_takes_all_classes(database: Connection, worker: Worker) -> None:
    """Urgent rows get the first turns."""
    for priority in (BULK, NORMAL, URGENT):
        fill(database, 2, priority)

    rows = worker.claim(100, limits=limits())

    assert [row["priority"] for row in rows] == [1, 1, 0, 0, -1, -1]
    assert [row["turn_in"] for row in rows] == sorted(row["turn_in"] for row in rows)


@pytest.mark.parametrize("limit", [1, 3, 10, 25])
def test_bulk_gets_every_tenth_turn(database: Connection, worker: Worker, limit: int) -> None:
    """No more and no less while others wait, whatever a claim takes at once."""
    fill(database, 300, NORMAL)
    fill(database, 100, BULK)

    counts = Counter(taken(worker, 200 // limit, limit))

    assert counts[BULK] == sum(counts.values()) // SHARE
    assert counts[NORMAL] == sum(counts.values()) - counts[BULK]


def test_bulk_gets_its_share_of_a_paced_bot(database: Connection, worker: Worker) -> None:
    """The same with limits: of the bot's turns, not of what claims may take."""
    fill(database, 300, URGENT)
    fill(database, 100, BULK)
    counts: Counter[int] = Counter()

    for _ in range(20):
        counts.update(taken(worker, 1, 100, limits=limits()))
        database.execute("update bridge.bot_pace set next_turn_at = 'epoch'")

    assert counts[BULK] == sum(counts.values()) // SHARE


def test_others_get_the_turns_that_bulk_does_not_need(database: Connection, worker: Worker) -> None:
    """And the other way round."""
    fill(database, 50, NORMAL)
    alone = Counter(taken(worker, 3, 10))
    fill(database, 50, BULK)
    database.execute("delete from tma_events where priority = 0")
    bulk = Counter(taken(worker, 3, 10))

    assert (alone, bulk) == ({NORMAL: 30}, {BULK: 30})


# Within a chat


def test_a_chats_urgent_row_overtakes(database: Connection, worker: Worker) -> None:
    """What waits in its chat, but not what is in flight."""
    first, second = insert(database, due_in=-60), insert(database, due_in=-30)
    (in_flight,) = worker.claim()
    urgent = insert(database, priority=URGENT)

    during = worker.claim()
    worker.settle(delivered(in_flight))

    assert (in_flight["id"], during) == (first, [])
    assert order(worker) == [urgent, second]


@pytest.mark.parametrize("priority", [URGENT, NORMAL])
def test_a_scheduled_row_of_a_higher_class_holds_nobody_back(
    database: Connection, worker: Worker, priority: int
) -> None:
    """An urgent row of tomorrow."""
    insert(database, priority=priority, due_in=3600)
    today = insert(database, priority=priority - 1)

    assert order(worker) == [today]


def test_a_row_that_waits_for_its_retry_holds_back_its_class_only(
    database: Connection, worker: Worker
) -> None:
    """Order is kept among rows of a class; a lower one goes meanwhile."""
    first = insert(database, due_in=-60)
    (row,) = worker.claim()
    worker.settle(retry(row, after=60))
    second, bulk = insert(database), insert(database, priority=BULK)

    during = order(worker)
    put_back(database, 61, first)

    assert (during, order(worker)) == ([bulk], [first, second])


def test_classes_of_one_chat_have_places_of_their_own(database: Connection, worker: Worker) -> None:
    """Ten thousand bulk rows of a chat do not push its next normal row behind."""
    fill(database, 50, BULK, chat=1)
    fill(database, 50, NORMAL, chat=1)

    front = database.execute(
        "select priority, count(*) as rows from tma_events where not behind group by 1 order by 1"
    ).fetchall()

    assert front == [{"priority": BULK, "rows": 3}, {"priority": NORMAL, "rows": 3}]
    assert len(order(worker)) == 100


def test_a_row_that_is_given_another_class_finds_its_place(
    database: Connection, worker: Worker
) -> None:
    """The service may change it while it waits; those behind it move up by the sweep."""
    fill(database, 8, NORMAL, chat=1)
    ids = [row["id"] for row in database.execute("select id from tma_events order by id")]
    database.execute("update tma_events set priority = 1 where id = any (%s)", [ids[3:]])
    database.execute("update tma_events set priority = 0 where id = %s", [ids[7]])
    worker.recover()

    assert order(worker) == [*ids[3:7], *ids[:3], ids[7]]


def test_a_retry_by_an_operator_keeps_the_class(database: Connection, worker: Worker) -> None:
    """Bulk stays bulk."""
    event = insert(
        database, priority=BULK, status="failed", failure="blocked", settled_at="2026-01-01"
    )

    worker.connection.execute("select retry_tma_events(%s)", [[event]])

    assert read(database, event)["priority"] == BULK


# Who may set it


@pytest.mark.parametrize("priority", [2, -2])
def test_other_numbers_are_refused(database: Connection, priority: int) -> None:
    """By the table."""
    with pytest.raises(psycopg.errors.CheckViolation, match="priority_is_known"):
        insert(database, priority=priority)


def test_an_answer_may_bring_events_of_any_class(
    database: Connection, worker: Worker, planner: Worker
) -> None:
    """Normal unless it says otherwise."""
    insert(database, "plan_requests")
    (request,) = planner.claim()
    planner.settle(
        {
            "id": request["id"],
            "attempt": request["attempt"],
            "status": "completed",
            "result": {},
            "events": [{"event_type": "a"}, {"event_type": "b", "priority": BULK}],
        }
    )

    rows = database.execute("select event_type, priority from tma_events order by id").fetchall()
    assert [tuple(row.values()) for row in rows] == [("a", NORMAL), ("b", BULK)]
