"""The migrations over what was there before: the first users' tables, or nothing at all."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from realtime_bridge.database import migrations_directory
from tests.sql.support import Connection, Worker, connect, delivered, dumped, insert, read
from tma_sandbox import migrations
from tma_sandbox.postgres import Postgres

FIRST_USERS_TABLE = """
    create table tma_events (
        id bigserial primary key,
        telegram_id bigint not null,
        event_type text not null,
        lead_id bigint,
        payload jsonb default '{}',
        status text not null default 'pending'
            check (status in ('pending', 'processing', 'delivered', 'failed')),
        created_at timestamptz default now(),
        delivered_at timestamptz
    );
    create index idx_tma_events_pending on tma_events (created_at) where status = 'pending';
    alter table tma_events enable row level security;
    create policy "allow all" on tma_events for all using (true) with check (true);

    create table plan_requests (
        id bigserial primary key,
        lead_id bigint,
        telegram_id bigint not null,
        status text not null default 'pending',
        result jsonb,
        error text,
        created_at timestamptz default now(),
        completed_at timestamptz
    );
    alter table plan_requests enable row level security;
    create policy "allow all" on plan_requests for all using (true) with check (true);
"""

THEIR_ROWS = """
    insert into tma_events (telegram_id, event_type, lead_id, status, created_at, delivered_at)
    values
        (1, 'step_completed', 7, 'pending', '2026-01-01 10:00Z', null),
        (1, 'step_completed', 7, 'processing', '2026-01-01 09:00Z', null),
        (2, 'step_skipped', null, 'processing', null, null),
        (3, 'status_changed', 7, 'delivered', '2026-01-01 10:00Z', '2026-01-01 10:01Z'),
        (3, 'status_changed', 7, 'delivered', '2026-01-01 10:00Z', null),
        (3, 'lead_assigned', 7, 'failed', '2026-01-01 10:00Z', null),
        (3, 'lead_assigned', 7, 'failed', null, '2026-01-01 10:01Z'),
        (4, 'custom', null, 'pending', null, '2026-01-01 10:01Z');
    insert into plan_requests
        (lead_id, telegram_id, status, result, error, created_at, completed_at)
    values
        (7, 1, 'pending', null, null, null, null),
        (7, 1, 'processing', null, null, '2026-01-01 10:00Z', null),
        (7, 1, 'completed', '{"steps": []}', null, '2026-01-01 10:00Z', '2026-01-01 10:01Z'),
        (7, 1, 'completed', '{"steps": []}', null, '2026-01-01 10:00Z', null),
        (7, 1, 'failed', null, 'no model', '2026-01-01 10:00Z', '2026-01-01 10:01Z'),
        (7, 1, 'failed', null, null, '2026-01-01 10:00Z', null);
"""


@pytest.fixture
def older(platform_db: str) -> Iterator[Connection]:
    """A project of the first users: their tables, with rows in every status."""
    with connect(platform_db) as connection:
        connection.execute(FIRST_USERS_TABLE + THEIR_ROWS)
        yield connection


def shape(connection: Connection) -> dict[str, list[object]]:
    """All that the migrations define, in words that do not depend on how it came to be."""
    queries = {
        "columns": """
            select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                a.attidentity, pg_get_expr(d.adbin, d.adrelid)
            from pg_class c
            join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
            where c.relnamespace in ('public'::regnamespace, 'bridge'::regnamespace)
                and c.relkind = 'r'
        """,
        "indexes": "select indexname, indexdef from pg_indexes where schemaname = 'public'",
        "policies": """
            select tablename, policyname, roles, cmd, qual, with_check from pg_policies
            where schemaname = 'public'
        """,
        "grants": """
            select c.relname, c.relacl::text, a.attname, a.attacl::text
            from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attacl is not null
            where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'S')
        """,
        "triggers": """
            select tgrelid::regclass::text, pg_get_triggerdef(oid)
            from pg_trigger where not tgisinternal and tgrelid::regclass::text !~ '^realtime'
        """,
        "published": "select tablename from pg_publication_tables",
        "sequences": "select sequencename from pg_sequences where schemaname = 'public'",
    }
    return {
        name: sorted(map(str, connection.execute(query.encode()).fetchall()))
        for name, query in queries.items()
    }


def test_every_old_row_survives(older: Connection, platform_db: str) -> None:
    """Rows of every status satisfy the new rules, and say honestly what is known of them."""
    migrations.apply(platform_db, migrations_directory())

    rows = older.execute(
        "select status, failure, settled_at is not null as settled,"
        " delivered_at is not null as delivered, attempt from tma_events order by id"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("pending", None, False, False, 0),
        ("pending", None, False, False, 0),
        ("pending", None, False, False, 0),
        ("delivered", None, True, True, 0),
        ("delivered", None, True, True, 0),
        ("failed", "uncertain", True, False, 0),
        ("failed", "uncertain", True, False, 0),
        ("pending", None, False, False, 0),
    ]


def test_old_rows_are_delivered_in_their_old_order(older: Connection, platform_db: str) -> None:
    """What waited goes on waiting in the order in which it was created."""
    migrations.apply(platform_db, migrations_directory())

    with Worker(platform_db) as worker:
        order = []
        while claimed := worker.claim(1):
            worker.start(*claimed)
            worker.settle(*map(delivered, claimed))
            order.append(claimed[0]["id"])

    assert order == [2, 1, 3, 8]


def test_old_requests_survive(older: Connection, platform_db: str) -> None:
    """Plans that are there stay, those in work are computed again."""
    migrations.apply(platform_db, migrations_directory())

    rows = older.execute(
        "select status, error, completed_at is not null as done from plan_requests order by id"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("pending", None, False),
        ("pending", None, False),
        ("completed", None, True),
        ("completed", None, True),
        ("failed", "no model", False),
        ("failed", "failed without a reason", False),
    ]


def test_ids_go_on_where_they_were(older: Connection, platform_db: str) -> None:
    """The next row gets the next number, whatever kind of column the id was."""
    migrations.apply(platform_db, migrations_directory())

    assert (insert(older), insert(older, "plan_requests")) == (9, 7)


def test_the_older_table_becomes_the_same_as_a_new_one(
    older: Connection, platform_db: str, database: Connection
) -> None:
    """From empty or from the first users' table: columns, rules, grants and bells are equal."""
    migrations.apply(platform_db, migrations_directory())

    migrated, fresh = shape(older), shape(database)

    for name, expected in fresh.items():
        assert migrated[name] == expected, name


def test_the_open_policy_is_dropped(older: Connection, platform_db: str) -> None:
    """Whoever finds the anon key can no longer read and change everything."""
    migrations.apply(platform_db, migrations_directory())

    with connect(platform_db, "anon") as anon:
        assert anon.execute("select id from tma_events").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            anon.execute("update tma_events set status = 'delivered'")


def test_the_open_policy_is_kept_on_request(older: Connection, platform_db: str) -> None:
    """A Mini App that cannot be changed today goes on inserting; nobody can change rows."""
    older.execute("comment on policy \"allow all\" on tma_events is 'keep until March'")

    migrations.apply(platform_db, migrations_directory())

    with connect(platform_db, "anon") as anon:
        anon.execute("insert into tma_events (telegram_id, event_type) values (5, 'custom')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            anon.execute("update tma_events set status = 'delivered'")
    check = older.execute("select tma_bridge_check() as answer").fetchone()
    assert check
    assert check["answer"]["allow_unverified"]
    assert check["answer"]["open_policies"] == [
        {"table": "tma_events", "policy": "allow all", "command": "all"}
    ]


def test_may_be_applied_again(older: Connection, platform_db: str) -> None:
    """A file that is run a second time, by hand or by another tool, changes nothing."""
    migrations.apply(platform_db, migrations_directory())
    insert(older, telegram_id=9)
    with Worker(platform_db) as worker:
        (started, *_) = worker.claim()
        worker.start(started)
    before = shape(older), read(older, started["id"])

    for path in sorted(migrations_directory().glob("*.sql")):
        older.execute(path.read_bytes())

    assert (shape(older), read(older, started["id"])) == before


def test_each_file_may_be_applied_again_alone(postgres: Postgres, db: str) -> None:
    """An upgrade applies what has changed, and nothing that follows it repairs what that broke."""
    before = dumped(postgres, db)

    with connect(db) as connection:
        for path in sorted(migrations_directory().glob("*.sql"), reverse=True):
            connection.execute(path.read_bytes())

    assert dumped(postgres, db) == before


def test_a_lead_name_of_the_user_survives_a_second_run(db: str) -> None:
    """The one function that users replace is not put back."""
    with connect(db) as connection:
        connection.execute(
            "create or replace function tma_lead_name(p_lead_id bigint) returns text"
            " language sql as $$ select 'mine' $$"
        )

        (path,) = Path(migrations_directory()).glob("*_claim_tma_events.sql")
        connection.execute(path.read_bytes())

        answer = connection.execute("select tma_lead_name(1) as name").fetchone()
    assert answer == {"name": "mine"}


def test_without_realtime_the_migrations_pass(postgres: Postgres, platform_db: str) -> None:
    """A database that has no Realtime, or whose owner may not touch it, is told what to do."""
    name = platform_db.rpartition("/")[2]
    with psycopg.connect(postgres.dsn(name, "supabase_admin"), autocommit=True) as admin:
        admin.execute("drop schema realtime cascade; drop publication supabase_realtime")

    migrations.apply(platform_db, migrations_directory())

    with connect(platform_db) as connection:
        assert insert(connection)
        answer = connection.execute("select tma_bridge_check() as answer").fetchone()
    assert answer
    assert not answer["answer"]["publication"]
    assert not answer["answer"]["realtime_send"]


def test_a_publication_of_somebody_else_is_a_warning(postgres: Postgres, platform_db: str) -> None:
    """The migration goes on and says which statement its owner has to run."""
    name = platform_db.rpartition("/")[2]
    with psycopg.connect(postgres.dsn(name, "supabase_admin"), autocommit=True) as admin:
        admin.execute("alter publication supabase_realtime owner to supabase_admin")
    warnings: list[str] = []

    with connect(platform_db) as connection:
        connection.add_notice_handler(lambda n: warnings.append(n.message_primary or ""))
        for path in sorted(migrations_directory().glob("*.sql")):
            connection.execute(path.read_bytes())

    assert any(
        'run "alter publication supabase_realtime add table bridge.bells"' in warning
        for warning in warnings
    )


def test_a_table_that_somebody_listens_to_stays_published(
    older: Connection, platform_db: str
) -> None:
    """What a project heard of inserts before the migrations it hears after them."""
    older.execute("alter publication supabase_realtime add table tma_events, plan_requests")
    older.execute("alter table tma_events replica identity full")

    migrations.apply(platform_db, migrations_directory())

    published = older.execute("select tablename from pg_publication_tables order by 1").fetchall()
    assert [row["tablename"] for row in published] == ["bells", "plan_requests", "tma_events"]
    identity = older.execute(
        "select relreplident::text as key from pg_class where oid = 'tma_events'::regclass"
    ).fetchone()
    assert identity == {"key": "d"}  # of a deleted row: the primary key
