"""Digests: rows of one type for one chat that are gathered go, and end, together."""

from typing import Any

import pytest
from psycopg.errors import InvalidParameterValue
from psycopg.types.json import Jsonb

from tests.sql.support import (
    Connection,
    Row,
    Worker,
    delivered,
    failed,
    insert,
    limits,
    put_back,
    read,
    retry,
)

WINDOW = {"tapped": 10}


def tap(database: Connection, due_in: float = -30, **columns: Any) -> int:
    """Insert a row of the type that is gathered; by default its window is over."""
    return insert(database, event_type="tapped", due_in=due_in, **columns)


def claim(worker: Worker, **more: Any) -> list[Row]:
    """What a claim with the window brings."""
    return worker.claim(**{"digests": WINDOW} | more)


def parts(row: Row) -> list[int]:
    """The ids of the rows that are told with this one, itself first."""
    return [row["id"], *(part["id"] for part in row["gathered"] or [])]


def states(database: Connection, *ids: int) -> set[tuple[Any, ...]]:
    """How these rows are, once for all that are alike."""
    names = ("status", "failure", "message_id", "gathered_into")
    return {tuple(read(database, one)[name] for name in names) for one in ids}


def test_ten_taps_are_one_claim(database: Connection, worker: Worker) -> None:
    """In their order, each with what its message is made of."""
    taps = [tap(database, payload={"step_id": n}, lead_id=n) for n in range(10)]

    (row,) = claim(worker)

    assert parts(row) == taps
    assert [part["lead_id"] for part in row["gathered"]] == list(range(1, 10))
    assert row["gathered"][0].keys() == {
        "id",
        "lead_id",
        "lead_name",
        "payload",
        "created_at",
        "deliver_after",
    }
    assert row["gathered"][8]["payload"] == '{"step_id": 9}'
    assert {read(database, one)["status"] for one in taps} == {"processing"}


def test_the_first_waits_for_the_others(database: Connection, worker: Worker) -> None:
    """For the window, counted from when it was due; the claim says until when."""
    first = tap(database, due_in=-4)

    answer = worker.ask(digests=WINDOW)

    assert answer["rows"] == []
    assert 5 < answer["next_seconds"] < 6
    assert read(database, first)["held_by"] == "digest"
    put_back(database, 6, first)
    second = tap(database, due_in=0)
    (row,) = claim(worker)
    assert parts(row) == [first, second]


def test_what_is_due_later_is_not_gathered(database: Connection, worker: Worker) -> None:
    """A scheduled row has a digest of its own."""
    first = tap(database)
    tap(database, due_in=60)

    (row,) = claim(worker)

    assert parts(row) == [first]
    assert row["gathered"] is None


@pytest.mark.parametrize(
    "other",
    [
        {"event_type": "else"},
        {"telegram_id": 2},
        {"priority": 1},
        {"priority": -1},
        {"replaces": "plan:1"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_only_what_is_alike_is_gathered(
    database: Connection, worker: Worker, other: dict[str, Any]
) -> None:
    """The same type, chat and class, and nothing that has a message of its own to edit."""
    first = tap(database)
    apart = insert(database, **{"event_type": "tapped", "due_in": -20} | other)

    claimed = claim(worker)

    assert all(apart not in parts(row)[1:] for row in claimed)
    assert all(len(parts(row)) == 1 for row in claimed)
    assert first in {row["id"] for row in claimed} or other == {"priority": 1}


def test_without_a_window_nothing_is_gathered(database: Connection, worker: Worker) -> None:
    """As ever: one row after the other."""
    first = tap(database)
    tap(database)

    (row,) = worker.claim()

    assert parts(row) == [first]


def test_all_its_rows_are_delivered_by_one_message(database: Connection, worker: Worker) -> None:
    """And know in which row's message they were."""
    taps = [tap(database) for _ in range(3)]
    (row,) = claim(worker)
    worker.start(row)

    accepted = worker.settle(delivered(row, message_id=8))

    assert accepted == {taps[0]}
    assert states(database, taps[0]) == {("delivered", None, 8, None)}
    assert states(database, *taps[1:]) == {("delivered", None, 8, taps[0])}


def test_all_its_rows_pass_the_fence_together(database: Connection, worker: Worker) -> None:
    """By the call of start, and within the claim."""
    taps = [tap(database) for _ in range(3)]
    (row,) = claim(worker)
    worker.start(row)
    by_call = {read(database, one)["send_started_at"] for one in taps}
    worker.settle(delivered(row))
    again = [tap(database, telegram_id=2) for _ in range(3)]
    claim(worker, start_now=1)
    within = {read(database, one)["send_started_at"] for one in again}

    assert len(by_call) == 1
    assert None not in by_call
    assert len(within) == 1
    assert None not in within


def test_all_its_rows_fail_together(database: Connection, worker: Worker) -> None:
    """With the same reason."""
    taps = [tap(database) for _ in range(3)]
    (row,) = claim(worker)
    worker.start(row)
    worker.settle(failed(row, "rejected"))

    assert {read(database, one)["failure"] for one in taps} == {"rejected"}


def test_all_its_rows_wait_for_the_retry_together(database: Connection, worker: Worker) -> None:
    """And may be joined by others meanwhile."""
    taps = [tap(database) for _ in range(3)]
    (row,) = claim(worker)
    worker.start(row)
    worker.settle(retry(row, after=60, counted=True))
    waiting = states(database, *taps)
    taps.append(tap(database, due_in=-1))

    put_back(database, 61, *taps)
    (again,) = claim(worker)

    assert waiting == {("pending", None, None, None)}
    assert parts(again) == taps
    assert {read(database, one)["retries"] for one in taps[:3]} == {1}


def test_all_its_rows_are_released_together(database: Connection, worker: Worker) -> None:
    """By whoever has not sent them."""
    taps = [tap(database) for _ in range(3)]
    (row,) = claim(worker, start_now=1)

    released = worker.release(row, unsent=True)

    assert released == {taps[0]}
    assert states(database, *taps) == {("pending", None, None, None)}


@pytest.mark.parametrize("resend", [False, True])
@pytest.mark.parametrize("started", [False, True])
def test_all_its_rows_are_recovered_together(
    database: Connection, worker: Worker, *, started: bool, resend: bool
) -> None:
    """Uncertain all together, or open again all together; each of them is counted."""
    taps = [tap(database) for _ in range(3)]
    claim(worker, start_now=int(started))
    put_back(database, 600, *taps)

    counts = worker.recover(120, resend=resend)

    uncertain = started and not resend
    assert {read(database, one)["status"] for one in taps} == {"failed" if uncertain else "pending"}
    assert counts["uncertain"] == (3 if uncertain else 0)
    assert counts["returned"] + counts["resent"] == (0 if uncertain else 3)


def test_rows_whose_first_was_deleted_are_recovered(database: Connection, worker: Worker) -> None:
    """Nothing is out of reach because somebody deleted the row that it was told with."""
    taps = [tap(database) for _ in range(3)]
    claim(worker)
    put_back(database, 600, *taps)
    database.execute("delete from tma_events where id = %s", [taps[0]])

    worker.recover(120)

    (row,) = claim(worker)
    assert parts(row) == taps[1:]


def test_a_claim_asked_again_tells_the_same(database: Connection, worker: Worker) -> None:
    """With all that was gathered, and nothing that came later."""
    for _ in range(3):
        tap(database)
    key = "8f6ff0d8-2b55-4f0e-9d3a-7d6df2f7c111"
    first = claim(worker, key=key)
    tap(database, due_in=-1)

    again = claim(worker, key=key)

    assert [parts(row) for row in again] == [parts(row) for row in first]


def test_a_digest_has_room_for_fifty(database: Connection, worker: Worker) -> None:
    """The others are the next one."""
    taps = [tap(database) for _ in range(60)]
    (row,) = claim(worker)
    worker.start(row)
    worker.settle(delivered(row))

    (more,) = claim(worker)

    assert parts(row) == taps[:50]
    assert parts(more) == taps[50:]


def test_a_digest_has_a_size(database: Connection, worker: Worker) -> None:
    """One user's payloads do not fill the answer that others' rows are in."""
    taps = [tap(database, payload={"text": "x" * 15_000}) for _ in range(10)]

    (row,) = claim(worker)

    assert parts(row) == taps[:5]


def test_the_order_of_a_chat_stays(database: Connection, worker: Worker) -> None:
    """A digest stands where its first row stands; what came in between goes after it."""
    first = tap(database)
    between = insert(database, due_in=-20)
    last = tap(database, due_in=-10)
    (digest,) = claim(worker)
    worker.settle(delivered(digest))

    (row,) = claim(worker)

    assert parts(digest) == [first, last]
    assert row["id"] == between


def test_a_digest_is_one_turn(database: Connection, worker: Worker) -> None:
    """And one message of its chat."""
    for _ in range(5):
        tap(database)
    paced = {"limits": limits(chat_burst=1)}
    (row,) = claim(worker, **paced)
    worker.start(row)
    worker.settle(delivered(row))
    turns = database.execute("select turns from bridge.bot_pace").fetchone()
    insert(database, event_type="else")

    assert turns == {"turns": 1}
    assert claim(worker, **paced) == []


def test_an_urgent_row_does_not_wait_for_a_window(database: Connection, worker: Worker) -> None:
    """What its chat gathers meanwhile is of another class."""
    tap(database, due_in=0)
    claim(worker)
    urgent = insert(database, priority=1)

    (row,) = claim(worker)

    assert row["id"] == urgent


def test_nothing_behind_a_window_is_looked_at(database: Connection, worker: Worker) -> None:
    """However many wait: they stand behind until it is over, and none is forgotten."""
    taps = [tap(database, due_in=0) for _ in range(5)]
    claim(worker)
    taps += [tap(database, due_in=0) for _ in range(5)]
    behind = [read(database, one)["behind"] for one in taps]
    worker.recover(120)

    put_back(database, 11, *taps)
    (row,) = claim(worker)

    assert behind == [False] + [True] * 9
    assert parts(row) == taps


@pytest.mark.parametrize("window", [0, -1, 3601, "10", None, [10]])
def test_windows_that_make_no_sense_are_refused(worker: Worker, window: Any) -> None:
    """Before anything is claimed."""
    with pytest.raises(InvalidParameterValue):
        worker.claim(digests={"tapped": window})


@pytest.mark.parametrize("windows", [[], "tapped", 5])
def test_windows_that_are_no_object_are_refused(worker: Worker, windows: Any) -> None:
    """And the error says what they are."""
    with pytest.raises(InvalidParameterValue, match="p_digests"):
        worker.connection.execute(
            "select public.claim_tma_events(1, gen_random_uuid(), null, 0, %s)", [Jsonb(windows)]
        )


def test_a_row_that_was_never_tried_does_not_end_with_one_that_has_been(
    database: Connection, worker: Worker
) -> None:
    """The first has used up its attempts; the other is claimed again, by itself."""
    first = tap(database, due_in=-60)
    alike = tap(database, due_in=-50)
    database.execute("update tma_events set attempt = 5, retries = 5")
    fresh = tap(database)
    (row,) = claim(worker, start_now=1)
    assert parts(row) == [first, alike, fresh]

    assert worker.settle(failed(row, "exhausted")) == {first}

    assert {read(database, one)["failure"] for one in (first, alike)} == {"exhausted"}
    (again,) = claim(worker)
    assert (again["id"], again["retries"]) == (fresh, 0)
