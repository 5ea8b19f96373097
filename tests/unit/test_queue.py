"""What each outcome means for its row, and which rows are not handed out at all."""

import asyncio

import pytest

from realtime_bridge.model import Failed, Failure, Halted, Lost, Retry, Sent, Uncertain
from realtime_bridge.queue import EventQueue, Policy, Settlement, read, settlement
from realtime_bridge.rpc import Refused
from realtime_bridge.settings import Delivery
from tests.unit.rows import event

ONCE = Policy(Delivery.AT_MOST_ONCE, max_attempts=3)
LEAST = Policy(Delivery.AT_LEAST_ONCE, max_attempts=3)


def pending(error, retry_in, *, counted):
    return Settlement(1, 1, "pending", error=error, retry_in=retry_in, counted=counted)


def failed(failure, error):
    return Settlement(1, 1, "failed", failure=failure, error=error)


@pytest.mark.parametrize(
    ("outcome", "retries", "policy", "expected"),
    [
        (Sent(7), 0, ONCE, Settlement(1, 1, "delivered", message_id=7)),
        (Failed(Failure.BLOCKED, "x"), 0, ONCE, failed(Failure.BLOCKED, "x")),
        (Uncertain("x"), 0, ONCE, failed(Failure.UNCERTAIN, "x")),
        (Uncertain("x"), 0, LEAST, pending("may have been sent: x", 9.0, counted=True)),
        (
            Uncertain("x"),
            2,
            LEAST,
            failed(Failure.EXHAUSTED, "3 attempts; last: may have been sent: x"),
        ),
        (Retry("x"), 0, ONCE, pending("x", 9.0, counted=True)),
        (Retry("x", after=4.0), 0, ONCE, pending("x", 4.0, counted=True)),
        (Retry("x"), 2, ONCE, failed(Failure.EXHAUSTED, "3 attempts; last: x")),
        (Retry("x", after=5.0, counted=False), 99, ONCE, pending("x", 5.0, counted=False)),
        (Halted("x"), 99, ONCE, pending("x", 0.0, counted=False)),
        (Lost(), 0, ONCE, None),
    ],
)
def test_an_outcome_decides_the_row(outcome, retries, policy, expected):
    """Every outcome, in both delivery modes, before and at the last attempt."""
    row = event(retries=retries, attempt=1)

    assert settlement(row, outcome, policy, wait=lambda _: 9.0) == expected


def claimed(**fields):
    return event(**fields).model_dump(mode="json")


def test_a_row_that_can_be_read_is_an_event():
    """The usual case."""
    assert read(claimed(id=3), max_attempts=5) == event(id=3)


def test_a_row_that_cannot_be_read_ends_with_the_reason():
    """It would come back for ever."""
    end = read(claimed(id=3, attempt=2) | {"event_type": None}, max_attempts=5)

    assert end == Settlement(
        3, 2, "failed", failure=Failure.INVALID, error="the bridge cannot read: event_type"
    )


def test_a_row_whose_workers_keep_dying_ends():
    """A message that kills whoever renders it must not do so for ever."""
    end = read(claimed(id=3, attempt=6, retries=5), max_attempts=5)

    assert end.failure is Failure.EXHAUSTED
    assert read(claimed(id=3, attempt=6, retries=4), max_attempts=5) == event(
        id=3, attempt=6, retries=4
    )


class OneBadApple:
    """A database that refuses every batch with the outcome of row 2 in it."""

    def __init__(self):
        self.batches = []

    async def call(self, function, arguments):
        ids = [one["id"] for one in arguments["p_outcomes"]]
        self.batches.append(ids)
        if 2 in ids:
            raise Refused("cannot settle", "")
        return ids


async def test_an_outcome_that_is_refused_does_not_take_others_with_it():
    """They share a call; the database refuses a batch as a whole."""
    rpc = OneBadApple()
    queue = EventQueue(rpc, lease=60.0, policy=ONCE)

    held = await asyncio.gather(
        *(queue.settle(event(id=number), Sent(number)) for number in (1, 2, 3))
    )

    assert held == [True, False, True]
    assert [1, 2, 3] in rpc.batches or [2, 3] in rpc.batches


class Locked:
    """A database that refuses every call with this status."""

    def __init__(self, status):
        self.status, self.calls = status, 0

    async def call(self, function, arguments):
        self.calls += 1
        raise Refused("Supabase refused the key", "", status=self.status)


async def test_outcomes_are_kept_while_every_call_is_refused():
    """A key that was revoked says nothing of any row: all are asked about again, none is lost."""
    queue = EventQueue(locked := Locked(401), lease=60.0, policy=ONCE)

    answers = await asyncio.gather(
        *(queue.settle(event(id=n), Sent(n)) for n in range(5)), return_exceptions=True
    )

    assert [type(answer) for answer in answers] == [Refused] * 5
    assert locked.calls <= 2
