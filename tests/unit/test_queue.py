"""What each outcome means for its row."""

import pytest

from realtime_bridge.model import Failed, Failure, Halted, Lost, Retry, Sent, Uncertain
from realtime_bridge.queue import Policy, Settlement, settlement
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
        (Uncertain("x"), 2, LEAST, failed(Failure.EXHAUSTED, "3 attempts; last: x")),
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
