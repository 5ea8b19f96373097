"""A call reads about as many rows as it is about, whatever the table was like before.

A connection keeps its plans. PostgREST's connections make theirs when the first calls come, which
may be while the table is empty; then ten thousand rows come in one statement, and nothing tells
the connection until autovacuum has looked at the table.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.sql.support import Connection, Worker, delivered

ROWS = 10_000
BATCH = 20
# A row is found through an index, read, locked and read again for the update.
ENOUGH = 10 * BATCH

# Index entries and rows of the table that this session has read and not reported yet.
_READ = """
    select sum(pg_stat_get_xact_tuples_returned(relation))::bigint as tuples
    from (
        select 'public.tma_events'::regclass::oid
        union all
        select indexrelid from pg_index where indrelid = 'public.tma_events'::regclass
    ) relations (relation)
"""


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
    """How many index entries and rows of the table the call reads."""

    def read() -> int:
        row = worker.connection.execute(_READ).fetchone()
        assert row
        return int(row["tuples"])

    with worker.connection.transaction():  # it reports between transactions only
        before = read()
        call()
        return read() - before


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
