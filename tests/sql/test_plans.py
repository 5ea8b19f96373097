"""A call reads about as many rows as it is about, and is not compiled, whatever Postgres was told.

A connection keeps its plans. PostgREST's connections make theirs when the first calls come, which
may be while the table is empty; then ten thousand rows come in one statement, and nothing tells
the connection until autovacuum has looked at the table.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.sql import support
from tests.sql.support import Connection, Worker, connect, delivered, limits
from tma_sandbox.postgres import Postgres

ROWS = 10_000
BATCH = 20
# A row is found through an index, read, locked and read again for the update.
ENOUGH = 10 * BATCH


@pytest.fixture
def old_plans(db: str, own: Connection) -> Iterator[Worker]:
    """A worker that planned each of its calls while the table was known to be empty."""
    own.execute("alter table public.tma_events set (autovacuum_enabled = off)")
    own.execute("vacuum analyze public.tma_events")
    claim = {"id": 1, "attempt": 1}
    with Worker(db) as worker:
        # From the sixth call on a plan is kept: https://www.postgresql.org/docs/15/sql-prepare.html
        for _ in range(6):
            worker.claim()
            worker.start(claim)
            worker.settle(delivered(claim))
            worker.release(claim)
            worker.recover()
            worker.call("purge_tma_events", "30 days", BATCH)
        own.execute(
            "insert into public.tma_events (telegram_id, event_type)"
            " select chat, 'step_completed' from generate_series(1, %s) chat",
            [ROWS],
        )
        yield worker


def read_by(worker: Worker, call: Callable[[], object]) -> int:
    """How many index entries and rows of the events the call reads."""
    return support.read_by(worker, call, "public.tma_events")[0]


def test_a_claim_reads_what_it_takes(old_plans: Worker) -> None:
    """And not the whole backlog, to sort it."""
    assert read_by(old_plans, lambda: old_plans.claim(BATCH)) < ENOUGH


def test_the_holder_of_a_claim_reads_its_rows(old_plans: Worker) -> None:
    """Whatever it says of them: the primary key leads to each."""
    sent, kept = old_plans.claim(BATCH), old_plans.claim(BATCH)

    assert read_by(old_plans, lambda: old_plans.start(*sent)) < ENOUGH
    assert read_by(old_plans, lambda: old_plans.settle(*map(delivered, sent))) < ENOUGH
    assert read_by(old_plans, lambda: old_plans.release(*kept)) < ENOUGH


def test_a_sweep_reads_what_is_in_flight(old_plans: Worker) -> None:
    """And of all that wait the one that is due next."""
    old_plans.claim(BATCH)

    assert read_by(old_plans, lambda: old_plans.recover(0)) < ENOUGH


def test_a_purge_reads_what_it_deletes(old_plans: Worker, own: Connection) -> None:
    """The longest settled rows, not all of them."""
    own.execute(
        "update public.tma_events set status = 'failed', failure = 'blocked', settled_at = now()"
    )

    assert read_by(old_plans, lambda: old_plans.call("purge_tma_events", "0", BATCH)) < ENOUGH


# One chat beside the others


@pytest.fixture
def crowd(own: Connection) -> Connection:
    """Ten thousand rows of one chat, due before all others'."""
    own.execute(
        "insert into public.tma_events (telegram_id, event_type, deliver_after)"
        " select 0, 'step_completed', now() - interval '1 hour' from generate_series(1, %s)",
        [ROWS],
    )
    own.execute("vacuum analyze public.tma_events")
    own.execute(
        "insert into public.tma_events (telegram_id, event_type)"
        " select chat, 'step_completed' from generate_series(1, %s) chat",
        [BATCH],
    )
    return own


def test_a_claim_does_not_walk_through_one_chat(crowd: Connection, db: str) -> None:
    """Of each chat it looks at the first few rows, while the first is free and while it is not."""
    with Worker(db) as worker:
        first = read_by(worker, lambda: worker.claim(BATCH // 2))
        second = read_by(worker, lambda: worker.claim(BATCH // 2))

    assert max(first, second) < ENOUGH


def test_a_sweep_does_not_walk_through_one_chat(crowd: Connection, db: str) -> None:
    """Neither to learn what is due next, nor to let rows move up."""
    with Worker(db) as worker:
        worker.claim(BATCH)

        assert read_by(worker, worker.recover) < ENOUGH


def test_an_insert_does_not_walk_through_its_chat(crowd: Connection, db: str) -> None:
    """Finding its place, and counting the rows of the user, takes a few looks."""
    with Worker(db) as worker:
        insert = "insert into public.tma_events (telegram_id, event_type) values (0, 'x')"

        assert read_by(worker, lambda: worker.connection.execute(insert)) < ENOUGH


# What Postgres was told

SETTINGS = [
    {},
    {"jit_above_cost": "0"},
    {"plan_cache_mode": "force_generic_plan"},
    {"plan_cache_mode": "force_custom_plan"},
    {"work_mem": "64kB"},
    {"work_mem": "1GB", "random_page_cost": "1.1"},
    {"random_page_cost": "4", "max_parallel_workers_per_gather": "8", "parallel_setup_cost": "0"},
]
OUR_WAY_IS_SHUT = 1e9  # what a way costs at least that was switched off: 1e10


class Plans:
    """The plans of everything that a session runs, also within functions."""

    def __init__(self, dsn: str, settings: dict[str, str]) -> None:
        self.seen: list[dict[str, Any]] = []
        self.connection = connect(dsn)
        self.connection.add_notice_handler(self._hear)
        self.connection.execute("load 'auto_explain'")
        for name, value in settings.items():
            self.connection.execute(f"set {name} = '{value}'".encode())

    def watch(self) -> None:
        self.connection.execute(
            "set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;"
            " set auto_explain.log_analyze = on; set auto_explain.log_format = json;"
            " set client_min_messages = log"
        )

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        text = notice.message_primary or ""
        if "plan:" in text:
            self.seen.append(json.loads(text.partition("plan:")[2]))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_no_call_is_compiled_or_goes_a_way_that_is_shut(
    postgres: Postgres, db: str, own: Connection, settings: dict[str, str]
) -> None:
    """Each function says what it needs of the planner, so the server's settings do not matter."""
    admin = Plans(postgres.dsn(db.rpartition("/")[2], "supabase_admin"), settings)
    own.execute(
        "insert into public.tma_events (telegram_id, event_type, lead_id)"
        " select chat, 'step_completed', chat from generate_series(1, 1000) chat"
    )
    own.execute(
        "insert into bridge.chats (telegram_id, even_at)"
        " select chat, now() + interval '1 minute' from generate_series(11, 20) chat"
    )
    for _ in range(6):  # from then on plans are kept
        admin.connection.execute("select claim_tma_events(1, gen_random_uuid())")
        admin.connection.execute("select * from settle_tma_events('[]')")
    admin.watch()

    with admin.connection:
        answer = admin.connection.execute(
            "select claim_tma_events(20, gen_random_uuid(), %s) as answer",
            [json.dumps(limits(bot_per_second=1000))],
        ).fetchone()
        assert answer
        rows = answer["answer"]["rows"]
        tokens = json.dumps([{"id": row["id"], "attempt": row["attempt"]} for row in rows])
        outcomes = json.dumps([delivered(row) | {"pause": 9} for row in rows[:10]])
        for call, argument in (
            ("start_tma_events(%s)", tokens),
            ("settle_tma_events(%s)", outcomes),
            ("release_tma_events(%s)", tokens),
            ("recover_tma_events(%s, false)", "0"),
            ("purge_tma_events(%s)", "0"),
        ):
            admin.connection.execute(f"select * from {call}".encode(), [argument])

    assert len(admin.seen) > 10
    compiled = [plan["Query Text"] for plan in admin.seen if "JIT" in plan]
    shut = [
        plan["Query Text"] for plan in admin.seen if plan["Plan"]["Total Cost"] > OUR_WAY_IS_SHUT
    ]
    assert shut == []
    if "jit_above_cost" not in settings:
        assert compiled == []


def test_functions_of_users_are_planned_as_usual(own: Connection, db: str) -> None:
    """What the claim switches off for itself is on for the function that names leads."""
    own.execute(
        "create or replace function public.tma_lead_name(p_lead_id bigint) returns text"
        " language sql as $$ select current_setting('enable_seqscan')"
        " || current_setting('enable_sort') || current_setting('jit') $$"
    )
    own.execute("insert into tma_events (telegram_id, event_type, lead_id) values (1, 'x', 7)")

    with Worker(db) as worker:
        worker.connection.execute("set jit = on")
        (row,) = worker.claim()

    assert row["lead_name"] == "ononon"
