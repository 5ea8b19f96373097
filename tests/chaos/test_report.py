"""The report finds every kind of broken promise."""

import pytest

from tests.chaos.report import Report

ONCE, LEAST = "at_most_once", "at_least_once"


def row(id_, status="delivered", failure=None, error=None, chat=1):
    return {
        "id": id_,
        "telegram_id": chat,
        "status": status,
        "failure": failure,
        "error": error,
        "attempt": 1,
    }


def failed(id_, failure="uncertain", error="who knows"):
    return row(id_, "failed", failure, error)


def report(rows, accepted, mode=ONCE, exposed=()):
    return Report(mode, rows, accepted, set(exposed))


@pytest.mark.parametrize("mode", [ONCE, LEAST])
def test_a_good_run_has_no_problems(mode):
    """Everything arrived once and in order."""
    assert report([row(1), row(2), row(3, chat=2)], [1, 3, 2], mode).problems() == []


def test_uncertain_is_good_where_something_happened():
    """To the process or to a connection of that row; arrived or not, early or late."""
    rows = [failed(1), row(2), failed(3)]

    assert report(rows, [2, 1], exposed={1, 3}).problems() == []


@pytest.mark.parametrize(
    ("rows", "accepted", "mode", "problem"),
    [
        ([row(1, "pending")], [1], ONCE, "stuck: [1]"),
        ([row(1, "processing")], [1], LEAST, "stuck: [1]"),
        ([row(1)], [1, 1], ONCE, "accepted twice: [1]"),
        ([failed(1)], [], ONCE, "uncertain without a cause: [1]"),
        ([failed(1, "rejected", None)], [], ONCE, "failed without a reason: [1]"),
        ([row(1), row(2)], [2], ONCE, "delivered, but Telegram does not have it: [1]"),
        ([row(1), row(2)], [2, 1], ONCE, "out of order: [2]"),
        ([row(1), row(2)], [2, 1], LEAST, "out of order: [2]"),
        ([failed(1, "exhausted")], [], LEAST, "never accepted: [1]"),
    ],
)
def test_a_broken_promise_is_named(rows, accepted, mode, problem):
    """In words, with the rows."""
    assert report(rows, accepted, mode).problems() == [problem]


def test_twice_is_allowed_where_it_is_promised():
    """At least once means that."""
    assert report([row(1)], [1, 1], LEAST).problems() == []


def test_the_table_counts():
    """What a person reads."""
    table = report([row(1), failed(2), failed(3)], [1, 3], exposed={2, 3}).table()

    numbers = dict(line.rsplit(maxsplit=1) for line in table.splitlines()[1:] if line.strip())
    assert {name.strip(): int(count) for name, count in numbers.items()} == {
        "events": 3,
        "accepted by Telegram once": 2,
        "accepted twice or more": 0,
        "never accepted": 1,
        "delivered": 1,
        "failed: uncertain": 2,
        "uncertain, had been accepted": 1,
        "uncertain, had not": 1,
        "rows past the fence at a mishap": 2,
        "needed more than one attempt": 0,
        "stuck": 0,
    }
