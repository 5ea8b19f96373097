"""The broadcast bell: one ring per statement that made work, and never a lost insert."""

import psycopg
import pytest

from tests.sql.support import Connection, Worker, failed, insert
from tma_sandbox.postgres import Postgres


def rings(database: Connection) -> list[dict[str, object]]:
    """The broadcasts on the bell's topic, and forget them."""
    return database.execute(
        "with heard as (delete from realtime.messages where topic = 'tma_bell' returning *)"
        " select event, private, payload - 'id' as payload from heard"
    ).fetchall()


RING = {"event": "rows", "private": True, "payload": {"table": "tma_events"}}


def test_an_insert_rings(database: Connection) -> None:
    """The message is private and carries the name of the table and nothing else."""
    insert(database, payload={"secret": "of the user"})

    assert rings(database) == [RING]


def test_a_statement_rings_once(database: Connection) -> None:
    """A thousand rows are one ring."""
    database.execute(
        "insert into public.tma_events (telegram_id, event_type)"
        " select chat, 'step_completed' from generate_series(1, 1000) chat"
    )

    assert rings(database) == [RING]


@pytest.mark.parametrize(("due_in", "expected"), [(3600, []), (30, [RING]), (-30, [RING])])
def test_only_work_that_is_due_soon_rings(
    database: Connection, due_in: float, expected: list[object]
) -> None:
    """A reminder of next week wakes nobody."""
    insert(database, due_in=due_in)

    assert rings(database) == expected


def test_rows_that_are_no_work_do_not_ring(database: Connection) -> None:
    """Imported history is silent."""
    insert(database, status="failed", failure="blocked", settled_at="2026-01-01")

    assert rings(database) == []


def test_released_and_retried_rows_ring(database: Connection, worker: Worker) -> None:
    """Other replicas hear of rows that are theirs to take now."""
    insert(database)
    (row,) = worker.claim()
    rings(database)

    worker.release(row)
    after_release = rings(database)
    (row,) = worker.claim()
    worker.settle(failed(row))
    worker.connection.execute("select retry_tma_events(p_failure => 'blocked')")

    assert (after_release, rings(database)) == ([RING], [RING])


def test_nothing_released_is_silent(database: Connection, worker: Worker) -> None:
    """Only a change rings."""
    worker.release({"id": 1, "attempt": 1})

    assert rings(database) == []


def as_admin(postgres: Postgres, connection: Connection, statement: str) -> None:
    """Run a statement that only the superuser may."""
    dsn = postgres.dsn(connection.info.dbname, "supabase_admin")
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(statement)


def test_a_broken_bell_loses_no_insert(postgres: Postgres, own: Connection) -> None:
    """Whatever realtime.send raises becomes one warning."""
    as_admin(
        postgres,
        own,
        "create or replace function realtime.send("
        " payload jsonb, event text, topic text, private boolean default true)"
        " returns void language plpgsql as $$ begin raise 'no partition'; end $$",
    )
    warnings: list[str] = []
    own.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))

    event = insert(own)

    assert event
    assert warnings == ["the bell tma_bell did not ring: no partition"]


def test_a_broken_changes_bell_loses_no_insert(own: Connection) -> None:
    """Whatever ails the table of rings becomes one warning, and the other bell rings."""
    own.execute("alter table bridge.bells add check (table_name = 'another') not valid")
    rings(own)  # of the migrations
    warnings: list[str] = []
    own.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))

    event = insert(own)

    assert event
    assert rings(own) == [RING]
    (warning,) = warnings
    assert warning.startswith("the changes bell did not ring: ")


def test_without_realtime_inserts_go_through(postgres: Postgres, own: Connection) -> None:
    """A project whose Realtime has no broadcasts works without a warning."""
    as_admin(postgres, own, "drop schema realtime cascade")
    warnings: list[str] = []
    own.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))

    event = insert(own)

    assert event
    assert warnings == []
