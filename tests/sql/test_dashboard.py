"""What the dashboard shows: tma_event_minutes, _ways, _details, _content, and failed_tma_events."""

from typing import Any

import psycopg
import pytest

from tests.sql.support import (
    Connection,
    Worker,
    connect,
    delivered,
    failed,
    insert,
    put_back,
)


def end(database: Connection, worker: Worker, outcome: Any = delivered, **columns: Any) -> int:
    """A row of a chat of its own that has ended."""
    event = insert(database, **columns)
    (row,) = worker.claim()
    worker.start(row)
    worker.settle(outcome(row))
    return event


def answer(worker: Worker, function: str, *arguments: Any) -> Any:
    """The one JSON value that it returns."""
    (row,) = worker.call(function, *arguments)
    return row["answer"]


def test_the_minutes_of_an_empty_table(worker: Worker) -> None:
    """Sixty of them, with nothing in them."""
    empty = {"delivered": 0, "failed": {}, "p50": None, "p95": None}

    assert answer(worker, "tma_event_minutes") == {
        "minutes": [empty] * 60,
        "p50": None,
        "p95": None,
        "last_ten_seconds": 0,
    }


def test_each_minute_has_its_own_numbers(database: Connection, worker: Worker) -> None:
    """Rows that ended, by reason, the last minute last, and for an hour only."""
    end(database, worker, telegram_id=1)
    before = [
        end(database, worker, telegram_id=2),
        end(database, worker, failed, telegram_id=3),
        end(database, worker, lambda row: failed(row, "rejected"), telegram_id=4),
    ]
    put_back(database, 90, *before)
    for chat in range(5, 9):
        late = end(database, worker, telegram_id=chat, created_in=-500, due_in=-500)
        put_back(database, 3700, late)

    hour = answer(worker, "tma_event_minutes")

    told = [(minute["delivered"], minute["failed"]) for minute in hour["minutes"]]
    assert told == [*[(0, {})] * 58, (1, {"blocked": 1, "rejected": 1}), (1, {})]
    assert hour["last_ten_seconds"] == 1
    assert hour["p95"] < 400


def test_times_count_from_due_to_delivered(database: Connection, worker: Worker) -> None:
    """Not from an insert long before; what failed has no part in them."""
    for chat, due in enumerate((-10, -20, -30), 1):
        end(database, worker, telegram_id=chat, created_in=-9000, due_in=due)
    end(database, worker, failed, telegram_id=9, created_in=-500, due_in=-500)

    hour = answer(worker, "tma_event_minutes")

    assert hour["p50"] == pytest.approx(20, abs=3)
    assert hour["p95"] == pytest.approx(29, abs=3)
    assert hour["minutes"][-1]["p50"] == hour["p50"]


def test_ways_are_open_rows_and_then_the_latest_ends(database: Connection, worker: Worker) -> None:
    """Whose turn is next comes first; what ended last comes before what ended earlier."""
    first, second = (end(database, worker, telegram_id=chat) for chat in (1, 2))
    put_back(database, 60, first)
    insert(database, telegram_id=3, due_in=60)
    in_flight = insert(database, telegram_id=4, created_in=-5, due_in=-5)
    worker.claim()

    rows = worker.call("tma_event_ways", 50)

    assert [row["id"] for row in rows][:1] == [in_flight]
    assert [row["id"] for row in rows][-2:] == [second, first]
    assert [row["status"] for row in rows] == ["processing", "pending", "delivered", "delivered"]
    assert 5000 <= rows[0]["claimed_ms"] < 60_000
    assert rows[0]["started_ms"] is rows[0]["ended_ms"] is None


def test_urgent_rows_come_first(database: Connection, worker: Worker) -> None:
    """As they are claimed; bulk comes last."""
    rows = {
        priority: insert(database, telegram_id=5 + priority, priority=priority)
        for priority in (0, -1, 1)
    }

    ways = worker.call("tma_event_ways", 2)

    assert [row["id"] for row in ways] == [rows[1], rows[0]]


def test_ways_are_as_many_as_asked_for(database: Connection, worker: Worker) -> None:
    """Of each kind, and nothing of the user."""
    for chat in (1, 2, 3):
        end(database, worker, telegram_id=chat, payload={"secret": "of the user"})
        insert(database, telegram_id=chat, due_in=60)

    rows = worker.call("tma_event_ways", 2)

    assert len(rows) == 4
    assert not {"payload", "telegram_id", "lead_id", "dedupe_key"} & set(rows[0])


@pytest.mark.parametrize("word", ["withdrawn", "muted"])
def test_what_was_not_to_be_sent_is_no_delivery(
    database: Connection, worker: Worker, word: str
) -> None:
    """A row that has ended and was neither delivered nor failed counts as neither."""
    event = insert(database)
    database.execute(
        "update tma_events set status = %s, settled_at = now() where id = %s", [word, event]
    )

    hour, (way,) = answer(worker, "tma_event_minutes"), worker.call("tma_event_ways", 5)

    assert (hour["minutes"][-1]["delivered"], hour["minutes"][-1]["failed"]) == (0, {})
    assert (hour["p50"], way["status"], way["id"]) == (None, word, event)
    assert answer(worker, "tma_event_details", event)["turn"] is None


def test_failures_by_reason_and_text(database: Connection, worker: Worker) -> None:
    """The latest first, with how many and which; not those of before."""
    blocked = [end(database, worker, failed, telegram_id=chat) for chat in (1, 2)]
    put_back(database, 100, *blocked)
    rejected = end(
        database, worker, lambda row: failed(row, "rejected", "can't parse"), telegram_id=3
    )
    put_back(database, 9000, end(database, worker, failed, telegram_id=4))

    rows = worker.call("failed_tma_events", 3600)

    told = [(row["failure"], row["error"], row["events"], row["latest_ids"]) for row in rows]
    assert told == [
        ("rejected", "can't parse", 1, [rejected]),
        ("blocked", "bot was blocked", 2, blocked[::-1]),
    ]


def test_a_reason_is_counted_whole(database: Connection, worker: Worker) -> None:
    """Also where it has more texts than are listed."""
    for chat in range(1, 4):
        end(database, worker, lambda row: failed(row, error=f"text {row['id']}"), telegram_id=chat)

    rows = worker.call("failed_tma_events", 3600, 2)

    assert [row["of_failure"] for row in rows] == [3, 3]


def test_details_tell_nothing_of_the_user(database: Connection, worker: Worker) -> None:
    """Neither to whom nor what; a delivered row waits behind nobody."""
    event = end(
        database, worker, telegram_id=123456, lead_id=98765, dedupe_key="mine", payload={"a": "b"}
    )
    insert(database, telegram_id=123456, created_in=-60, due_in=-60)

    row = answer(worker, "tma_event_details", event)

    assert not {"123456", "98765", "mine", "b"} & set(map(str, row.values()))
    assert (row["turn"], row["payload_bytes"]) == (None, 10)


def test_the_content_is_for_who_may_read_the_table(
    database: Connection, worker: Worker, sql_dsn: str
) -> None:
    """The bridge's narrow role may not, and sees the rest nevertheless."""
    event = insert(database, telegram_id=2**53 + 1, lead_id=5, payload={"name": "<b>Ann"})

    content = answer(worker, "tma_event_content", event)
    with connect(sql_dsn, "tma_bridge") as narrow:
        narrow.execute("select public.tma_event_details(%s)", [event])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            narrow.execute("select public.tma_event_content(%s)", [event])

    assert (content["telegram_id"], content["lead_id"]) == (str(2**53 + 1), "5")
    assert content["payload"] == '{\n    "name": "<b>Ann"\n}'


def test_a_long_payload_is_cut(database: Connection, worker: Worker) -> None:
    """A page is no place for a mebibyte."""
    event = insert(database, payload={"text": "x" * 200_000})

    assert len(answer(worker, "tma_event_content", event)["payload"]) == 65_536
