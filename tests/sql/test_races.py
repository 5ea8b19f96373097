"""Replicas at the same time: every order of their steps, with transactions held open."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from tests.sql.races import Race, Step, commit, orders
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
    token,
)

Play = Callable[[Sequence[Sequence[Step]], Callable[[], None]], Iterator[list[list[Any]]]]

Held = tuple[list[Row], Callable[[], None]]


@pytest.fixture
def play(sql_dsn: str, database: Connection) -> Iterator[Play]:
    """Run scripts in every order, each on the rows that `prepare` makes anew."""
    races = []

    def every_order(
        scripts: Sequence[Sequence[Step]], prepare: Callable[[], None]
    ) -> Iterator[list[list[Any]]]:
        race = Race(sql_dsn, scripts, database)
        races.append(race)
        for order in orders([len(script) for script in scripts]):
            database.execute(
                "delete from tma_events; delete from bridge.chats; delete from bridge.claim_keys;"
                " delete from bridge.bot_pace; insert into bridge.bot_pace default values"
            )
            prepare()
            yield race.run(order)

    yield every_order
    for race in races:
        race.close()


def claim(worker: Worker) -> list[Row]:
    """The step that claims all it can."""
    return worker.claim()


def in_flight(database: Connection) -> list[Row]:
    """How many rows of each chat are in somebody's hands, most first."""
    return database.execute(
        "select telegram_id, count(*) from tma_events where status = 'processing'"
        " group by 1 order by 2 desc, 1"
    ).fetchall()


def test_two_claims_share_the_rows(play: Play, database: Connection) -> None:
    """Each row goes to one of two replicas, and one of a chat at a time."""

    def prepare() -> None:
        for chat in (1, 1, 2, 2, 3):
            insert(database, telegram_id=chat)

    for (first, _), (second, _) in play([[claim, commit], [claim, commit]], prepare):
        chats = [row["telegram_id"] for row in first + second]
        assert sorted(chats) == [1, 2, 3]
        assert in_flight(database)[0]["count"] == 1


def test_a_row_committed_late_does_not_double_its_chat(play: Play, database: Connection) -> None:
    """A row with an earlier place appears at any moment between two claims."""

    def prepare() -> None:
        insert(database, due_in=-1)

    def insert_earlier(worker: Worker) -> int:
        return insert(worker.connection, due_in=-60)

    scripts = [[claim, commit], [claim, commit], [insert_earlier, commit]]
    for first, second, _ in play(scripts, prepare):
        assert len(first[0]) + len(second[0]) == 1
        assert [row["count"] for row in in_flight(database)] == [1]


def test_two_claims_share_the_turns(play: Play, database: Connection) -> None:
    """Replicas that ask at the same moment get no turn twice, and no more than there are."""

    def prepare() -> None:
        for chat in range(1, 21):
            insert(database, telegram_id=chat)

    def claim_paced(worker: Worker) -> list[Row]:
        return worker.claim(limits=limits(bot_per_second=10))

    for (first, _), (second, _) in play([[claim_paced, commit], [claim_paced, commit]], prepare):
        turns = sorted(datetime.fromisoformat(row["turn_at"]) for row in first + second)
        assert all(b - a >= timedelta(seconds=0.1) for a, b in pairwise(turns))
        assert 1 <= len(turns) <= 1 + 0.4 * 10 + 1


@pytest.mark.parametrize("calls", [2, 3])
def test_calls_with_one_key_are_one_claim(play: Play, database: Connection, calls: int) -> None:
    """Whichever comes first, ends first or is still running: all say the same."""
    keys: list[UUID] = []

    def prepare() -> None:
        keys[:] = [uuid4()]
        for chat in range(1, 6):
            insert(database, telegram_id=chat)

    def claim_two(worker: Worker) -> list[Row]:
        return worker.claim(2, key=keys[0], start_now=1)

    for answers in play([[claim_two, commit]] * calls, prepare):
        told = [[(r["id"], r["attempt"], r["started"]) for r in rows] for rows, _ in answers]
        assert told == [told[0]] * calls
        assert sum(row["count"] for row in in_flight(database)) == len(told[0]) == 2


def test_a_key_whose_first_call_failed_is_free(play: Play, database: Connection) -> None:
    """A call that is rolled back has claimed nothing: the other does."""
    keys: list[UUID] = []

    def prepare() -> None:
        keys[:] = [uuid4()]
        insert(database)

    def claim_keyed(worker: Worker) -> list[Row]:
        return worker.claim(key=keys[0])

    def roll_back(worker: Worker) -> None:
        worker.connection.rollback()

    for _, (got, _) in play([[claim_keyed, roll_back], [claim_keyed, commit]], prepare):
        assert len(got) == 1
        assert [row["count"] for row in in_flight(database)] == [1]


def test_a_claim_and_a_settle_do_not_deadlock(
    play: Play, database: Connection, worker: Worker
) -> None:
    """One locks the bot first and one last, and both touch rows and chats."""
    held: list[Row] = []

    def prepare() -> None:
        for chat in (1, 1, 2, 2, 3, 3, 4):
            insert(database, telegram_id=chat)
        held[:] = worker.claim(3, limits=limits(), start_now=3)

    def settle(worker: Worker) -> set[int]:
        return worker.settle(*(retry(row, 9, pause=9) for row in held))

    def claim_paced(worker: Worker) -> list[Row]:
        return worker.claim(limits=limits())

    def recover(worker: Worker) -> Row:
        return worker.recover(0)

    scripts = [[claim_paced, commit], [settle, commit], [recover, commit]]
    for (claimed, _), (settled, _), (counts, _) in play(scripts, prepare):
        assert {row["telegram_id"] for row in claimed} <= {1, 2, 3, 4}
        assert len(settled) + counts["returned"] + counts["uncertain"] >= len(held)


def test_pauses_told_at_the_same_time_are_counted(
    play: Play, database: Connection, worker: Worker
) -> None:
    """Three replicas that are told to wait at once pause the bot, whoever is the last."""
    held: list[Row] = []

    def prepare() -> None:
        for chat in (1, 2, 3):
            insert(database, telegram_id=chat)
        held[:] = worker.claim()

    def told(place: int) -> list[Step]:
        return [lambda worker: worker.settle(retry(held[place], 9, pause=9)), commit]

    for _ in play([told(0), told(1), told(2)], prepare):
        row = database.execute(
            "select paused_until > now() + interval '5 seconds' as paused from bridge.bot_pace"
        ).fetchone()
        assert row == {"paused": True}


def test_an_operators_retry_does_not_double_its_chat(play: Play, database: Connection) -> None:
    """A row that becomes pending again between two claims waits for its turn."""
    retried: list[int] = []

    def prepare() -> None:
        retried[:] = [insert(database, status="failed", failure="blocked", settled_at="2026-01-01")]
        insert(database)

    def retry(worker: Worker) -> None:
        worker.connection.execute("select retry_tma_events(%s)", [retried])

    scripts = [[claim, commit], [claim, commit], [retry, commit]]
    for first, second, _ in play(scripts, prepare):
        assert len(first[0]) + len(second[0]) == 1
        assert [row["count"] for row in in_flight(database)] == [1]


def test_the_next_row_goes_only_after_the_settle(
    play: Play, database: Connection, worker: Worker
) -> None:
    """While the first row is being settled, the second is claimed by one replica at most."""
    held: list[Row] = []

    def prepare() -> None:
        insert(database, due_in=-2)
        insert(database, due_in=-1)
        held[:] = worker.claim()
        worker.start(*held)

    def settle(worker: Worker) -> set[int]:
        return worker.settle(*map(delivered, held))

    for _, first, second in play([[settle, commit], [claim, commit], [claim, commit]], prepare):
        assert len(first[0]) + len(second[0]) <= 1


def test_a_new_plan_withdraws_what_others_touch(
    play: Play, database: Connection, worker: Worker, planner: Worker
) -> None:
    """A reminder is withdrawn even while a settle moves it up; one that is claimed is sent."""
    held: list[Row] = []
    asked: list[Row] = []
    events = [{"event_type": "step_due", "lead_id": 7, "payload": {"step_id": 4}}]

    def prepare() -> None:
        insert(database, due_in=-3)
        held[:] = worker.claim()
        for step, due_in in ((1, -2), (2, 600), (3, 700)):
            payload = {"step_id": step}
            insert(database, event_type="step_due", lead_id=7, payload=payload, due_in=due_in)
        database.execute("delete from plan_requests")
        insert(database, "plan_requests", lead_id=7)
        asked[:] = planner.claim()

    def settle(worker: Worker) -> set[int]:
        return worker.settle(*map(delivered, held))

    def answer(worker: Worker) -> None:
        plan = {"status": "completed", "result": {}, "withdraw": "step_due", "events": events}
        worker.connection.execute(
            "select settle_tma_requests('plan_requests', %s)", [Jsonb([token(asked[0]) | plan])]
        )

    scripts = [[settle, commit], [claim, commit], [answer, commit]]
    for _, (claimed, _), _ in play(scripts, prepare):
        first = {row["payload"]["step_id"] for row in claimed}
        left = database.execute(
            "select (payload ->> 'step_id')::int as step from tma_events"
            " where event_type = 'step_due'"
        ).fetchall()
        assert {row["step"] for row in left} == first | {4}


@pytest.fixture
def held(database: Connection, worker: Worker) -> Held:
    """The tokens of one stale claim, and what makes it anew."""
    tokens: list[Row] = []

    def prepare() -> None:
        event = insert(database)
        tokens[:] = [token(row) for row in worker.claim()]
        put_back(database, 300, event)

    return tokens, prepare


def test_of_two_starts_one_passes(play: Play, held: Held) -> None:
    """However they meet, the fence lets one sender through."""
    tokens, prepare = held

    def start(worker: Worker) -> set[int]:
        return worker.start(*tokens)

    for (first, _), (second, _) in play([[start, commit], [start, commit]], prepare):
        assert len(first) + len(second) == 1


def test_a_start_and_a_recovery_agree(play: Play, held: Held, database: Connection) -> None:
    """Either the worker may send, or the row is back and he may not."""
    tokens, prepare = held

    def start(worker: Worker) -> set[int]:
        return worker.start(*tokens)

    def recover(worker: Worker) -> Row:
        return worker.recover()

    for (started, _), (counts, _) in play([[start, commit], [recover, commit]], prepare):
        row = read(database, tokens[0]["id"])
        assert len(started) + counts["returned"] == 1
        expected = "pending" if not started else "failed" if counts["uncertain"] else "processing"
        assert row["status"] == expected


def test_a_settle_and_a_recovery_agree(
    play: Play, held: Held, database: Connection, worker: Worker
) -> None:
    """A row ends in one way, and who did not end it is told."""
    tokens, prepare = held

    def prepare_started() -> None:
        prepare()
        worker.start(*tokens)

    def settle(worker: Worker) -> set[int]:
        return worker.settle(*map(delivered, tokens))

    def recover(worker: Worker) -> Row:
        return worker.recover()

    for (settled, _), (counts, _) in play([[settle, commit], [recover, commit]], prepare_started):
        row = read(database, tokens[0]["id"])
        assert len(settled) + counts["uncertain"] == 1
        assert row["status"] == ("delivered" if settled else "failed")


def test_a_release_and_a_start_agree(play: Play, held: Held, database: Connection) -> None:
    """What is handed back is not sent."""
    tokens, prepare = held

    def start(worker: Worker) -> set[int]:
        return worker.start(*tokens)

    def release(worker: Worker) -> set[int]:
        return worker.release(*tokens)

    for (started, _), (released, _) in play([[start, commit], [release, commit]], prepare):
        assert len(started) + len(released) == 1
        assert (read(database, tokens[0]["id"])["status"] == "pending") == bool(released)


def test_of_two_outcomes_one_stands(play: Play, held: Held, database: Connection) -> None:
    """Two that hold the same token, by whatever accident, do not overwrite each other."""
    tokens, prepare = held

    def deliver(worker: Worker) -> set[int]:
        return worker.settle(*map(delivered, tokens))

    def fail(worker: Worker) -> set[int]:
        return worker.settle(*map(failed, tokens))

    for (first, _), (second, _) in play([[deliver, commit], [fail, commit]], prepare):
        assert len(first) + len(second) == 1
        assert read(database, tokens[0]["id"])["status"] == ("delivered" if first else "failed")


def test_batches_that_overlap_do_not_deadlock(
    play: Play, database: Connection, worker: Worker
) -> None:
    """Everybody locks rows in one order, however they are listed, and also when one has to wait."""
    tokens: list[Row] = []

    def prepare() -> None:
        for chat in range(1, 6):
            insert(database, telegram_id=chat)
        tokens[:] = [token(row) for row in worker.claim()]

    def hold_the_middle(worker: Worker) -> None:
        worker.connection.execute(
            "select from tma_events where id = %s for update", [tokens[2]["id"]]
        )

    def start(worker: Worker) -> set[int]:
        return worker.start(*tokens)

    def release_backwards(worker: Worker) -> set[int]:
        return worker.release(*reversed(tokens))

    scripts = [[hold_the_middle, commit], [start, commit], [release_backwards, commit]]
    for _, (started, _), (released, _) in play(scripts, prepare):
        assert len(started) + len(released) == len(tokens)


def test_a_purge_and_a_retry_agree(play: Play, database: Connection) -> None:
    """A failed row is given another chance or deleted, not both."""
    events: list[int] = []

    def prepare() -> None:
        events[:] = [insert(database, status="failed", failure="blocked", settled_at="2026-01-01")]

    def retry(worker: Worker) -> int:
        return len(worker.connection.execute("select retry_tma_events(%s)", [events]).fetchall())

    def purge(worker: Worker) -> int:
        (row,) = worker.call("purge_tma_events", "1 hour", 10)
        return int(row["answer"])

    for (retried, _), (purged, _) in play([[retry, commit], [purge, commit]], prepare):
        left = database.execute("select id from tma_events").fetchall()
        assert retried + purged == 1
        assert len(left) == retried
