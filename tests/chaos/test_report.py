"""The report finds every kind of broken promise."""

import pytest

from tests.chaos.report import Report
from tests.chaos.tellings import Telling, Tellings

ONCE, LEAST = "at_most_once", "at_least_once"


def row(id_, status="delivered", failure=None, error=None, *, chat=1, **columns):
    """A row; one that is delivered is so by the message of its own number."""
    return {
        "id": id_,
        "telegram_id": chat,
        "status": status,
        "failure": failure,
        "error": error,
        "attempt": 1,
        "message_id": id_ if status == "delivered" else None,
        "replaces": None,
        "edits": None,
        "gathered_into": None,
        "unwanted": False,
    } | columns


def failed(id_, failure="uncertain", error="who knows", **columns):
    return row(id_, "failed", failure, error, **columns)


def gathered(id_, into, status="delivered", **columns):
    """A row of a digest."""
    return row(id_, status, gathered_into=into, **{"message_id": _sent(into, status)} | columns)


def edited(id_, message, status="delivered", **columns):
    """A row that was to edit a message."""
    columns = {"message_id": _sent(message, status), "edits": message, "replaces": "k"} | columns
    return row(id_, status, **columns)


def _sent(message, status):
    return message if status == "delivered" else None


def withdrawn(id_, attempt=0, **columns):
    return row(id_, "withdrawn", attempt=attempt, **columns)


def muted(id_, unwanted=True):
    return row(id_, "muted", attempt=0, unwanted=unwanted)


def report(rows, told, mode=ONCE, exposed=(), withdrawals=()):
    """`told`: pairs of a message and its rows; a number is a message of its own."""
    seen = set()
    tellings = []
    for one in told:
        message, *ids = (one, one) if isinstance(one, int) else one
        if isinstance(one, int) and message in seen:
            message += 1000  # told once more by another message
        seen.add(message)
        tellings.append(Telling(message, tuple(ids)))
    return Report(mode, rows, Tellings(tellings), set(exposed), dict(withdrawals))


@pytest.mark.parametrize("mode", [ONCE, LEAST])
def test_a_good_run_has_no_problems(mode):
    """Everything arrived once and in order."""
    assert report([row(1), row(2), row(3, chat=2)], [1, 3, 2], mode).problems() == []


@pytest.mark.parametrize("mode", [ONCE, LEAST])
def test_all_kinds_may_be_in_a_good_run(mode):
    """A digest stands where its first row stands; an edit that was repeated is one message."""
    rows = [
        row(1, replaces="k"),
        row(2),
        row(3),
        withdrawn(4, replaces="k"),
        row(5),
        gathered(6, 3),
        edited(7, 1),
        withdrawn(8),
        muted(9),
    ]

    made = report(rows, [1, 2, (3, 3, 6), 5, (1, 7), (1, 7)], mode, withdrawals={8: True, 2: False})

    assert made.problems() == []


def test_uncertain_is_good_where_something_happened():
    """To the process or to a connection of that row; arrived or not, early or late."""
    rows = [failed(1), row(2), failed(3)]

    assert report(rows, [2, 1], exposed={1, 3}).problems() == []


def test_what_happens_to_a_digest_happens_to_all_its_rows():
    """Only its first is named by the bridge's calls."""
    rows = [failed(1), failed(2, gathered_into=1)]

    assert report(rows, [(7, 1, 2)], exposed={1}).problems() == []


def test_what_was_in_doubt_may_be_withdrawn_for_a_newer_text():
    """An edit that may have been made is not made again where there is something newer."""
    rows = [row(1, replaces="k"), withdrawn(2, 1, replaces="k"), edited(3, 1)]

    assert report(rows, [1, (1, 2), (1, 3)], exposed={2}).problems() == []


@pytest.mark.parametrize(
    ("rows", "told", "mode", "problem"),
    [
        ([row(1, "pending")], [1], ONCE, "stuck: [1]"),
        ([row(1, "processing")], [1], LEAST, "stuck: [1]"),
        ([row(1)], [1, 1], ONCE, "accepted twice: [1]"),
        ([failed(1)], [], ONCE, "uncertain without a cause: [1]"),
        ([failed(1, "rejected", None)], [], ONCE, "failed without a reason: [1]"),
        ([row(1), row(2)], [2], ONCE, "delivered, but Telegram does not have it: [1]"),
        (
            [row(1, message_id=2), row(2)],
            [1, 2],
            ONCE,
            "delivered, but Telegram does not have it: [1]",
        ),
        ([row(1), row(2)], [2, 1], ONCE, "out of order: [2]"),
        ([row(1), row(2)], [2, 1], LEAST, "out of order: [2]"),
        ([row(1), row(2), gathered(3, 2)], [(2, 2, 3), 1], ONCE, "out of order: [2]"),
        ([failed(1, "exhausted")], [], LEAST, "never accepted: [1]"),
        (
            [row(1), gathered(2, 1), gathered(3, 1, "failed", failure="e", error="e")],
            [(1, 1, 2, 3)],
            LEAST,
            "not ended like the first of its digest: [3]",
        ),
        (
            [row(1), failed(2, "rejected")],
            [(1, 1, 2)],
            ONCE,
            "not ended like the others of its message: [1, 2]",
        ),
        ([withdrawn(1)], [1], ONCE, "withdrawn or muted, but told: [1]"),
        ([withdrawn(1, 1, replaces="k")], [1], LEAST, "withdrawn or muted, but told: [1]"),
        ([muted(1)], [1], LEAST, "withdrawn or muted, but told: [1]"),
        ([row(1, unwanted=True)], [1], ONCE, "not what its chat has muted: [1]"),
        ([muted(1, unwanted=False)], [], LEAST, "not what its chat has muted: [1]"),
        (
            [row(1), edited(2, 1, "failed", failure="rejected", error="not modified")],
            [1, (1, 2)],
            ONCE,
            "an edit that failed: [2]",
        ),
        (
            [row(1), edited(2, 1), edited(3, 1)],
            [1, (1, 2), (1, 3), (1, 2)],
            ONCE,
            "newest of its key, but not what the message shows: [3]",
        ),
    ],
)
def test_a_broken_promise_is_named(rows, told, mode, problem):
    """In words, with the rows."""
    assert report(rows, told, mode).problems() == [problem]


def test_an_uncertain_edit_is_named_even_where_something_happened():
    """It can be repeated, so there is no excuse."""
    rows = [row(1), edited(2, 1, "failed", failure="uncertain", error="who knows")]

    assert report(rows, [1], exposed={2}).problems() == ["an edit that failed: [2]"]


@pytest.mark.parametrize(("ended", "done"), [(row(1), True), (withdrawn(1), False)])
def test_a_user_who_was_told_something_else_is_named(ended, done):
    """Withdrawn and not, or the other way round."""
    told = [1] if ended["status"] == "delivered" else []

    problems = report([ended], told, withdrawals={1: done}).problems()

    assert problems == ["not what the user who withdrew it was told: [1]"]


def test_twice_is_allowed_where_it_is_promised():
    """At least once means that."""
    assert report([row(1)], [1, 1], LEAST).problems() == []


def test_the_table_counts():
    """What a person reads."""
    rows = [row(1, replaces="k"), failed(2), failed(3), edited(4, 1), row(5), gathered(6, 5)]
    rows += [withdrawn(7), withdrawn(8, replaces="k"), muted(9)]
    told = [1, 3, (1, 4), (5, 5, 6)]
    table = report(rows, told, exposed={2, 3}, withdrawals={7: True, 5: False}).table()

    numbers = dict(line.rsplit(maxsplit=1) for line in table.splitlines()[1:] if line.strip())
    assert {name.strip(): int(count) for name, count in numbers.items()} == {
        "events": 9,
        "told by a digest": 2,
        "edits": 1,
        "withdrawn by their users": 1,
        "withdrawn for a newer text": 1,
        "muted": 1,
        "accepted by Telegram once": 5,
        "accepted twice or more": 0,
        "never accepted": 1,
        "delivered": 4,
        "failed: uncertain": 2,
        "uncertain, had been accepted": 1,
        "uncertain, had not": 1,
        "rows past the fence at a mishap": 2,
        "needed more than one attempt": 0,
        "stuck": 0,
    }
