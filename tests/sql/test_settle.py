"""start, settle, release: what the holder of a claim may do, and nobody else."""

from typing import Any

import psycopg
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
    token,
)


@pytest.fixture
def claimed(database: Connection, worker: Worker) -> Row:
    """A row in the hands of `worker`."""
    insert(database)
    (row,) = worker.claim()
    return row


@pytest.fixture
def lost(database: Connection, worker: Worker, claimed: Row) -> Row:
    """A claim that is over: it was recovered, and somebody else claimed the row."""
    put_back(database, 300, claimed["id"])
    worker.recover()
    worker.claim()
    return claimed


# The fence


def test_start_writes_the_fence(database: Connection, worker: Worker, claimed: Row) -> None:
    """From the start on the row says that it may have been sent."""
    started = worker.start(claimed)

    assert started == {claimed["id"]}
    assert read(database, claimed["id"])["send_started_at"] is not None


def test_a_claim_is_started_once(worker: Worker, claimed: Row) -> None:
    """A second start of the same claim is refused, so that two senders cannot both pass."""
    assert (worker.start(claimed), worker.start(claimed)) == ({claimed["id"]}, set())


def test_only_the_token_starts(worker: Worker, claimed: Row) -> None:
    """The number of another attempt opens nothing."""
    before, after = claimed | {"attempt": 0}, claimed | {"attempt": 2}

    assert worker.start(before, after) == set()


def test_a_lost_claim_is_not_started(database: Connection, worker: Worker, lost: Row) -> None:
    """A worker that slept past its lease does not send."""
    assert worker.start(lost) == set()
    assert read(database, lost["id"])["send_started_at"] is None


# Settling


def test_settle_delivered(database: Connection, worker: Worker, claimed: Row) -> None:
    """A delivered row knows its message, and when it was claimed, started and delivered."""
    worker.start(claimed)

    accepted = worker.settle(delivered(claimed, message_id=901))

    row = read(database, claimed["id"])
    assert accepted == {claimed["id"]}
    assert (row["status"], row["message_id"], row["failure"]) == ("delivered", 901, None)
    assert row["claimed_at"] <= row["send_started_at"] <= row["delivered_at"] == row["settled_at"]


def test_settle_failed(database: Connection, worker: Worker, claimed: Row) -> None:
    """A failed row says why, for machines and for people."""
    worker.start(claimed)

    accepted = worker.settle(failed(claimed, "blocked", "Forbidden: bot was blocked"))

    row = read(database, claimed["id"])
    assert accepted == {claimed["id"]}
    assert (row["status"], row["failure"], row["error"]) == (
        "failed",
        "blocked",
        "Forbidden: bot was blocked",
    )
    assert (row["delivered_at"], row["message_id"]) == (None, None)
    assert row["settled_at"] is not None


@pytest.mark.parametrize("started", [False, True])
def test_settle_pending(
    database: Connection, worker: Worker, claimed: Row, *, started: bool
) -> None:
    """A row that was not sent waits for its retry as if it had not been claimed."""
    if started:
        worker.start(claimed)

    accepted = worker.settle(retry(claimed, after=30, error="502 Bad Gateway"))

    row = read(database, claimed["id"])
    waits = row["retry_at"] - row["deliver_after"]
    assert accepted == {claimed["id"]}
    assert (row["status"], row["claimed_at"], row["send_started_at"]) == ("pending", None, None)
    assert (row["attempt"], row["error"]) == (1, "502 Bad Gateway")
    assert 30 <= waits.total_seconds() < 60


def test_a_retry_at_once_is_claimable_at_once(worker: Worker, claimed: Row) -> None:
    """Without a delay the row can be claimed again, with the next token."""
    worker.settle(retry(claimed))

    (again,) = worker.claim()

    assert (again["id"], again["attempt"]) == (claimed["id"], 2)


@pytest.mark.parametrize(
    ("more", "retries"), [({}, 0), ({"counted": False}, 0), ({"counted": True}, 1)]
)
def test_only_counted_retries_use_up_an_attempt(
    worker: Worker, claimed: Row, more: Row, retries: int
) -> None:
    """What is not the row's own failure, like a pause that Telegram asks for, is not counted."""
    worker.settle(retry(claimed, **more))

    (again,) = worker.claim()

    assert again["retries"] == retries


def test_a_delivered_row_forgets_the_error_of_its_retry(
    database: Connection, worker: Worker, claimed: Row
) -> None:
    """Success leaves no error behind."""
    worker.settle(retry(claimed, error="502 Bad Gateway"))
    (again,) = worker.claim()
    worker.start(again)

    worker.settle(delivered(again))

    assert read(database, again["id"])["error"] is None


def test_errors_are_capped(database: Connection, worker: Worker, claimed: Row) -> None:
    """A page of HTML from a proxy does not fill the table."""
    worker.settle(failed(claimed, error="x" * 10_000))

    assert read(database, claimed["id"])["error"] == "x" * 500


def test_one_call_settles_many(database: Connection, worker: Worker) -> None:
    """Different outcomes go in one batch, and a stale one among them stops nobody."""
    ids = [insert(database, telegram_id=chat) for chat in (1, 2, 3, 4)]
    rows = worker.claim()
    worker.start(*rows)

    accepted = worker.settle(
        delivered(rows[0]), failed(rows[1]), retry(rows[2]), delivered(rows[3] | {"attempt": 9})
    )

    assert accepted == set(ids[:3])
    assert [read(database, row_id)["status"] for row_id in ids] == [
        "delivered",
        "failed",
        "pending",
        "processing",
    ]


@pytest.mark.parametrize("outcome", [delivered, failed, retry])
def test_a_lost_claim_settles_nothing(
    database: Connection, worker: Worker, lost: Row, outcome: Any
) -> None:
    """A worker that slept past its lease cannot say how another's attempt ended."""
    before = read(database, lost["id"])

    assert worker.settle(outcome(lost)) == set()
    assert read(database, lost["id"]) == before


def test_a_recovered_row_is_not_settled_by_its_old_holder(
    database: Connection, worker: Worker, claimed: Row
) -> None:
    """The sweep has decided that nobody knows: a late word does not change the row."""
    worker.start(claimed)
    put_back(database, 300, claimed["id"])
    worker.recover()

    accepted = worker.settle(delivered(claimed))

    assert accepted == set()
    assert read(database, claimed["id"])["failure"] == "uncertain"


@pytest.mark.parametrize("outcome", [delivered, failed, retry])
def test_a_settle_whose_answer_was_lost_may_be_repeated(
    database: Connection, worker: Worker, claimed: Row, outcome: Any
) -> None:
    """Saying the same again is accepted and changes nothing."""
    worker.start(claimed)
    worker.settle(outcome(claimed))
    before = read(database, claimed["id"])

    repeated = worker.settle(outcome(claimed))

    assert repeated == {claimed["id"]}
    assert read(database, claimed["id"]) == before


def test_a_settled_row_is_not_settled_differently(
    database: Connection, worker: Worker, claimed: Row
) -> None:
    """The first outcome stands."""
    worker.start(claimed)
    worker.settle(delivered(claimed, message_id=1))
    before = read(database, claimed["id"])

    accepted = [
        worker.settle(outcome)
        for outcome in (failed(claimed), retry(claimed), delivered(claimed, message_id=2))
    ]

    assert accepted == [set(), set(), set()]
    assert read(database, claimed["id"]) == before


@pytest.mark.parametrize(
    "change",
    [
        {"status": "sent"},
        {"status": None},
        {"message_id": None},
        {"message_id": "many"},
        {"failure": "blocked"},
        {"status": "failed"},
        {"status": "failed", "message_id": None},
        {"status": "failed", "message_id": None, "failure": "bad luck"},
        {"status": "pending"},
        {"status": "pending", "message_id": None, "retry_in": -1},
        {"status": "pending", "message_id": None, "retry_in": 1e9},
        {"status": "pending", "message_id": None, "retry_in": "soon"},
        {"status": "pending", "message_id": None, "failure": "blocked"},
        {"id": None},
        {"id": "1"},
        {"attempt": None},
        {"attempt": 10**12},
    ],
)
def test_a_malformed_outcome_is_an_error(
    database: Connection, worker: Worker, claimed: Row, change: Row
) -> None:
    """An outcome that says nothing clear is refused with its whole batch."""
    other = insert(database, telegram_id=2)
    (fine,) = worker.claim()
    worker.start(claimed, fine)

    with pytest.raises(psycopg.DataError):
        worker.settle(delivered(fine), delivered(claimed) | change)

    assert read(database, other)["status"] == "processing"


def test_the_error_names_the_outcome_and_the_form(worker: Worker, claimed: Row) -> None:
    """Whoever writes a bridge of his own can see what he did."""
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        worker.settle(token(claimed) | {"status": "sent"})

    assert '"status": "sent"' in caught.value.diag.message_primary
    assert '"delivered" with "message_id"' in caught.value.diag.message_hint


def test_one_claim_has_one_outcome(worker: Worker, claimed: Row) -> None:
    """A batch that says two things about one claim is refused."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="two outcomes"):
        worker.settle(failed(claimed), retry(claimed))


@pytest.mark.parametrize(
    "function",
    [
        "start_tma_events(",
        "settle_tma_events(",
        "release_tma_events(",
        "settle_tma_requests('plan_requests', ",
        "release_tma_requests('plan_requests', ",
    ],
)
@pytest.mark.parametrize("batch", ["null", "{}", "7", '"x"', "[1]", "[null]", "[[]]", "[{}]"])
def test_something_else_than_a_batch_is_an_error(
    database: Connection, worker: Worker, function: str, batch: str
) -> None:
    """All of them want an array of objects, also where the planner knows that no row matches."""
    database.execute("vacuum analyze public.tma_events, public.plan_requests")

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        worker.connection.execute(f"select public.{function}%s::jsonb)", [batch])


@pytest.mark.parametrize("function", ["start", "settle", "release"])
def test_an_empty_batch_does_nothing(worker: Worker, function: str) -> None:
    """Nothing asked, nothing answered."""
    assert worker.call(f"{function}_tma_events", []) == []


# Releasing


def test_release_hands_the_claim_back(database: Connection, worker: Worker, claimed: Row) -> None:
    """After a graceful stop another worker takes the row, and no attempt is used up."""
    released = worker.release(claimed)

    (again,) = worker.claim()
    assert released == {claimed["id"]}
    assert (again["id"], again["attempt"], again["retries"]) == (claimed["id"], 2, 0)


def test_a_started_claim_is_not_released(
    database: Connection, worker: Worker, claimed: Row
) -> None:
    """Behind the fence a row cannot be handed back as if nothing had happened."""
    worker.start(claimed)

    assert worker.release(claimed) == set()
    assert read(database, claimed["id"])["status"] == "processing"


def test_a_started_claim_that_sent_nothing_is_released(
    database: Connection, worker: Worker, claimed: Row
) -> None:
    """Its holder knows: the row is as it was before, and keeps its place."""
    worker.start(claimed)
    insert(database)

    released = worker.release(claimed, unsent=True)

    (again,) = worker.claim(start_now=1)
    assert released == {claimed["id"]}
    assert (again["id"], again["attempt"], again["retries"]) == (claimed["id"], 2, 0)
    assert again["started"]


@pytest.mark.parametrize("unsent", [False, None])
def test_only_unsent_claims_are_released_behind_the_fence(
    worker: Worker, claimed: Row, *, unsent: bool | None
) -> None:
    """Nothing else than true says it."""
    worker.start(claimed)

    assert worker.release(claimed, unsent=unsent) == set()


def test_unsent_does_not_open_the_fence_again(worker: Worker, claimed: Row) -> None:
    """It is for handing back: a start is refused whatever it says."""
    worker.start(claimed)

    assert worker.call("start_tma_events", [token(claimed) | {"unsent": True}]) == []


def test_a_lost_claim_is_not_unsent(database: Connection, worker: Worker, lost: Row) -> None:
    """The new holder may be sending."""
    (row,) = database.execute("select id, attempt from tma_events").fetchall()
    worker.start(row)

    assert worker.release(lost, unsent=True) == set()
    assert read(database, lost["id"])["send_started_at"] is not None


def test_a_lost_claim_is_not_released(database: Connection, worker: Worker, lost: Row) -> None:
    """Releasing needs the token too."""
    assert worker.release(lost) == set()
    assert read(database, lost["id"])["status"] == "processing"


def test_a_released_claim_is_not_started(worker: Worker, claimed: Row) -> None:
    """What was handed back is not sent."""
    worker.release(claimed)

    assert worker.start(claimed) == set()
