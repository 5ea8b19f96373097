"""Turns come with the claim: one pace of the bot and of each chat, for all replicas."""

from datetime import datetime
from itertools import pairwise
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
    limits,
    put_back,
    read,
    retry,
)

MARGIN = 0.98
LOOK_AHEAD = 0.4


def fill(database: Connection, rows: int, **columns: Any) -> None:
    """Insert rows for as many chats, all due."""
    database.execute(
        "insert into public.tma_events (telegram_id, event_type, priority)"
        " select chat, 'x', %s from generate_series(1, %s) chat",
        [columns.get("priority", 0), rows],
    )


def pass_time(database: Connection, seconds: float) -> None:
    """Let `seconds` pass for the bot and all chats, and for rows that wait for their chats."""
    moved = [
        ("bridge.bot_pace", ["next_turn_at", "paused_until", "limits_at", "limits_differed_at"]),
        ("bridge.chats", ["even_at", "paused_at", "paused_until"]),
        ("public.tma_events", ["retry_at"]),
    ]
    for table, columns in moved:
        sets = ", ".join(f"{name} = {name} - make_interval(secs => %(by)s)" for name in columns)
        database.execute(f"update {table} set {sets}".encode(), {"by": seconds})


def send(database: Connection, worker: Worker) -> None:
    """Claim one row, whose turn must have come, and deliver it; then the bot's next turn comes."""
    (row,) = worker.claim(1, limits=limits(), start_now=1)
    assert row["started"]
    worker.settle(delivered(row))
    pass_time(database, 0.05)


def chat(database: Connection, telegram_id: int = 1) -> Row | None:
    """What is known of a chat, with times in seconds from now."""
    return database.execute(
        "select extract(epoch from even_at - now())::float8 as even_in,"
        " extract(epoch from paused_until - now())::float8 as paused_for, moved_to, blocked_at"
        " from bridge.chats where telegram_id = %s",
        [telegram_id],
    ).fetchone()


# The bot


def test_a_claim_grants_turns_within_the_look_ahead(database: Connection, worker: Worker) -> None:
    """One after the other at the bot's rate, and no more than that time holds."""
    fill(database, 100)

    answer = worker.ask(100, limits=limits())

    step = 1 / (30 * MARGIN)
    turns = [datetime.fromisoformat(row["turn_at"]) for row in answer["rows"]]
    assert len(turns) == int(LOOK_AHEAD / step) + 1
    assert answer["rows"][0]["turn_in"] == 0
    assert [(b - a).total_seconds() for a, b in pairwise(turns)] == pytest.approx(
        [step] * (len(turns) - 1), abs=0.0001
    )
    assert 0 < answer["next_seconds"] < LOOK_AHEAD


def test_replicas_share_the_turns(database: Connection, worker: Worker) -> None:
    """Another claim at the same moment gets what is left of the look-ahead: next to nothing."""
    fill(database, 100)

    first, second = (worker.claim(100, limits=limits(bot_per_second=3)) for _ in range(2))

    assert (len(first), second) == (2, [])


def test_turns_go_on_where_the_last_claim_ended(database: Connection, worker: Worker) -> None:
    """A second claim a little later starts with the turn after the first one's last."""
    fill(database, 100)
    first = worker.claim(100, limits=limits())
    pass_time(database, 0.1)

    second = worker.claim(100, limits=limits())

    last, following = (datetime.fromisoformat(row["turn_at"]) for row in (first[-1], second[0]))
    step = 1 / (30 * MARGIN)
    assert (following - last).total_seconds() == pytest.approx(step - 0.1, abs=0.0001)
    assert len(second) >= int(0.1 / step)  # and more, by the time between the calls
    assert second[-1]["turn_in"] <= LOOK_AHEAD


def test_an_idle_bot_has_no_burst(database: Connection, worker: Worker) -> None:
    """An hour without messages saves up no turns."""
    fill(database, 100)
    worker.claim(1, limits=limits())
    pass_time(database, 3600)

    assert len(worker.claim(100, limits=limits())) == 12


def test_without_limits_there_is_no_pace(database: Connection, worker: Worker) -> None:
    """Everything that is due goes now."""
    fill(database, 100)

    answer = worker.ask(100)

    assert [row["turn_in"] for row in answer["rows"]] == [0] * 100
    assert answer["next_seconds"] == 0


def test_a_claim_that_took_its_limit_may_ask_again_at_once(
    database: Connection, worker: Worker
) -> None:
    """Turns are left within the look-ahead."""
    fill(database, 100)

    assert worker.ask(2, limits=limits())["next_seconds"] == 0


def test_says_when_the_next_row_may_go(database: Connection, worker: Worker) -> None:
    """A scheduled row, a retry, or nothing at all."""
    nothing = worker.ask(limits=limits())["next_seconds"]
    insert(database, due_in=600)
    scheduled = worker.ask(limits=limits())["next_seconds"]

    assert nothing is None
    assert 590 < scheduled <= 600


def test_a_clock_that_was_put_back_stops_nobody(database: Connection, worker: Worker) -> None:
    """What was written by a clock that was ahead says nothing, of the bot and of a chat."""
    for telegram_id in (1, -1):
        insert(database, telegram_id=telegram_id)
        send(database, worker)
    for telegram_id in (1, -1):
        insert(database, telegram_id=telegram_id)
    pass_time(database, -3600)

    rows = worker.claim(limits=limits())

    assert [row["telegram_id"] for row in rows] == [1, -1]


# A chat


def test_a_chat_may_have_a_burst_and_then_its_pace(database: Connection, worker: Worker) -> None:
    """Three at once, the fourth about a second after the first."""
    for _ in range(4):
        insert(database)
    for _ in range(3):
        send(database, worker)

    waiting = worker.ask(limits=limits())
    pass_time(database, waiting["next_seconds"])
    (row,) = worker.claim(limits=limits())

    assert waiting["rows"] == []
    assert 0.5 < waiting["next_seconds"] < 0.9
    assert 0.1 < row["turn_in"] < 0.3
    assert not row["started"]


def test_a_group_has_no_burst(database: Connection, worker: Worker) -> None:
    """Twenty a minute: one every three seconds, from when the last one left."""
    for _ in range(2):
        insert(database, telegram_id=-100)
    (row,) = worker.claim(limits=limits(), start_now=1)
    put_back(database, 1, row["id"])  # it was long on its way
    worker.settle(delivered(row))

    assert 1.5 < worker.ask(limits=limits())["next_seconds"] < 2.1


def test_another_chat_does_not_wait(database: Connection, worker: Worker) -> None:
    """Rows of a chat that must wait take nobody's turn."""
    for _ in range(9):
        insert(database, due_in=-60)
    other = insert(database, telegram_id=2)
    for _ in range(3):
        send(database, worker)

    assert [row["id"] for row in worker.claim(1, limits=limits())] == [other]


def test_what_waits_for_its_chat_costs_nothing(database: Connection, worker: Worker) -> None:
    """No attempt, no error, no place."""
    rows = [insert(database, due_in=-10 - n) for n in (3, 2, 1, 0)]
    for _ in range(3):
        send(database, worker)
    before = read(database, rows[3])

    worker.claim(limits=limits())
    after = read(database, rows[3])

    assert after.pop("retry_at") is not None
    assert before.pop("retry_at") is None
    assert after == before


def test_chats_that_wait_are_looked_at_once(database: Connection, worker: Worker) -> None:
    """Also the rows behind the first of each; a claim sees to a few hundred chats at most."""
    database.execute(
        "insert into bridge.chats (telegram_id, even_at)"
        " select chat, now() + interval '1 minute' from generate_series(1, 500) chat"
    )
    for _ in range(2):
        fill(database, 500)
    slow = limits(chat_per_second=0.02, chat_burst=1)

    first, second, third = (worker.ask(10, limits=slow) for _ in range(3))
    due = database.execute(
        "select from tma_events where coalesce(retry_at, deliver_after) <= now()"
    ).fetchall()

    assert [answer["rows"] for answer in (first, second, third)] == [[], [], []]
    assert first["next_seconds"] < 1 < second["next_seconds"]
    assert due == []


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (delivered, True),
        (lambda row: failed(row, "uncertain"), True),
        (lambda row: retry(row, 5, pause=5), True),
    ],
)
def test_whatever_may_have_been_sent_counts(
    database: Connection, worker: Worker, outcome: Any, *, counted: bool
) -> None:
    """A message of which nobody knows, and one that was too many, too."""
    insert(database)
    (row,) = worker.claim(limits=limits(), start_now=1)

    worker.settle(outcome(row))

    known = chat(database)
    assert known
    assert (known["even_in"] > 0.5) == counted


def test_what_was_not_sent_does_not_count(database: Connection, worker: Worker) -> None:
    """Neither a row that ended before the fence nor one that was handed back unsent."""
    insert(database)
    insert(database, telegram_id=2)
    first, second = worker.claim(limits=limits(), start_now=2)

    worker.release(first | {"unsent": True}, unsent=True)
    worker.release(second, unsent=True)
    (again, _) = worker.claim(limits=limits())
    worker.settle(failed(again, "invalid"))

    assert chat(database) is None


def test_a_row_that_was_recovered_behind_the_fence_counts(
    database: Connection, worker: Worker
) -> None:
    """It may have been sent."""
    insert(database)
    (row,) = worker.claim(limits=limits(), start_now=1)
    put_back(database, 300, row["id"])

    worker.recover()

    known = chat(database)
    assert known
    assert known["even_in"] > 0.5


def test_an_outcome_that_is_repeated_counts_once(database: Connection, worker: Worker) -> None:
    """A settle whose answer was lost."""
    insert(database)
    (row,) = worker.claim(limits=limits(), start_now=1)

    worker.settle(delivered(row))
    worker.settle(delivered(row))

    known = chat(database)
    assert known
    assert known["even_in"] < 1.1


# What Telegram tells


def test_a_pause_stops_its_chat_for_everybody(database: Connection, worker: Worker) -> None:
    """Also rows that come meanwhile, with or without limits; other chats go on."""
    insert(database)
    (row,) = worker.claim()
    worker.settle(retry(row, 30, pause=30))
    insert(database)
    insert(database, telegram_id=2)

    claimed = [row["telegram_id"] for row in worker.claim()]
    waiting = worker.ask(limits=limits())

    assert (claimed, waiting["rows"]) == ([2], [])
    assert 29 < waiting["next_seconds"] < 30


def test_three_pauses_at_once_are_the_bots(database: Connection, worker: Worker) -> None:
    """A 429 does not say whom it means."""
    fill(database, 4)
    rows = worker.claim(3)
    worker.settle(retry(rows[0], 9, pause=9), retry(rows[1], 9, pause=9))
    two = worker.ask(1)
    worker.settle(retry(two["rows"][0]))
    worker.settle(retry(rows[2], 9, pause=9))
    three = worker.ask()

    assert len(two["rows"]) == 1
    assert three["rows"] == []
    assert 8 < three["next_seconds"] < 9


def test_pauses_long_apart_are_the_chats(database: Connection, worker: Worker) -> None:
    """More than two seconds."""
    fill(database, 4)
    rows = worker.claim(3)
    for row in rows:
        worker.settle(retry(row, 9, pause=9))
        pass_time(database, 1.5)

    assert len(worker.claim()) == 1


def test_a_row_gets_its_turn_when_the_pause_ends(database: Connection, worker: Worker) -> None:
    """To the moment."""
    insert(database)
    (row,) = worker.claim()
    worker.settle(retry(row, 9, pause=9))
    pass_time(database, 8.75)
    put_back(database, 9, row["id"])

    (again,) = worker.claim(start_now=1)

    assert 0.1 < again["turn_in"] <= 0.25
    assert not again["started"]


def test_a_groups_new_id_is_known_to_the_next_claim(database: Connection, worker: Worker) -> None:
    """Rows keep the id that they were written with."""
    for _ in range(2):
        insert(database, telegram_id=-5)
    (row,) = worker.claim()
    worker.settle(delivered(row) | {"moved_to": -1001234567890})

    (row,) = worker.claim()

    assert (row["telegram_id"], row["chat_id"]) == (-5, -1001234567890)


def test_a_private_chat_does_not_move(database: Connection, worker: Worker) -> None:
    """Whatever an outcome says: a user's messages do not go to a group."""
    for _ in range(2):
        insert(database, telegram_id=5)
    (row,) = worker.claim()
    worker.settle(delivered(row) | {"moved_to": -1001234567890})

    (row,) = worker.claim()

    assert row["chat_id"] == 5


def test_who_has_blocked_the_bot_is_known_until_a_message_arrives(
    database: Connection, worker: Worker
) -> None:
    """Written with the outcome."""
    insert(database)
    insert(database, priority=1)
    (row, *_) = worker.claim()
    worker.settle(failed(row, "blocked"))
    insert(database, priority=1)
    blocked = chat(database)
    (row,) = worker.claim()
    worker.settle(delivered(row))
    reached = chat(database)

    assert blocked
    assert blocked["blocked_at"] is not None
    assert reached
    assert reached["blocked_at"] is None


def test_a_lost_claim_tells_nothing(database: Connection, worker: Worker) -> None:
    """Of its chat neither."""
    insert(database)
    (row,) = worker.claim()
    worker.release(row)

    worker.settle(retry(row, 9, pause=9))

    assert chat(database) is None


@pytest.mark.parametrize(
    "more",
    [
        {"pause": 0},
        {"pause": -1},
        {"pause": 1e9},
        {"pause": "long"},
        {"pause": "NaN"},
        {"moved_to": 5},
        {"moved_to": 0},
        {"moved_to": -(2**52)},
        {"moved_to": "x"},
    ],
)
def test_nonsense_about_a_chat_is_refused(database: Connection, worker: Worker, more: Row) -> None:
    """The whole batch, and nothing is written."""
    insert(database)
    (row,) = worker.claim()

    with pytest.raises(psycopg.errors.DataError):
        worker.settle(retry(row, 9) | more)

    assert read(database, row["id"])["status"] == "processing"


# Housekeeping


def test_the_sweep_forgets_chats_that_say_nothing(database: Connection, worker: Worker) -> None:
    """One that moved, has blocked the bot, is paced or paused stays."""
    database.execute(
        "insert into bridge.chats (telegram_id, even_at, paused_until, moved_to, blocked_at) values"
        " (1, now() - interval '2 minutes', default, null, null),"
        " (2, now(), default, null, null),"
        " (3, default, now() + interval '9 seconds', null, null),"
        " (-4, default, default, -5, null),"
        " (5, default, default, null, now()),"
        " (6, default, default, null, null)"
    )

    worker.call("sweep_tma", "1 minute", False)

    left = database.execute("select telegram_id from bridge.chats order by 1").fetchall()
    assert [row["telegram_id"] for row in left] == [-4, 2, 3, 5]


# Limits


@pytest.mark.parametrize(
    "change",
    [
        {"bot_per_second": 0},
        {"bot_per_second": -1},
        {"bot_per_second": 1e9},
        {"bot_per_second": "30"},
        {"bot_per_second": None},
        {"bot_per_second": True},
        {"chat_burst": 1.5},
        {"chat_burst": 0},
        {"group_per_minute": [20]},
        {"chat_per_second": 1e-300},
        {"unknown": 1},
    ],
)
def test_senseless_limits_are_refused(database: Connection, worker: Worker, change: Row) -> None:
    """With the name of the one that is wrong."""
    (name,) = change
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=name):
        worker.ask(limits=limits() | change)


@pytest.mark.parametrize("value", [[], {}, {"bot_per_second": 30}, 30, "30"])
def test_all_limits_must_be_there(worker: Worker, value: Any) -> None:
    """Or none of them."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_limits must be an object"):
        worker.connection.execute(
            "select claim_tma_events(1, gen_random_uuid(), %s)",
            [psycopg.types.json.Jsonb(value)],
        )


def test_replicas_that_disagree_are_told(database: Connection, worker: Worker) -> None:
    """For a minute after the last claim with other limits."""
    alone = worker.ask(limits=limits())["limits_differ"]
    same = worker.ask(limits=limits(bot_per_second=30.0))["limits_differ"]
    other = worker.ask(limits=limits(bot_per_second=10))["limits_differ"]
    back = worker.ask(limits=limits(bot_per_second=10))["limits_differ"]
    pass_time(database, 61)
    later = worker.ask(limits=limits(bot_per_second=10))["limits_differ"]

    assert (alone, same, other, back, later) == (False, False, True, True, False)
