"""The decoder of Postgres' logical replication messages."""

import secrets
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tma_sandbox.realtime import pgoutput
from tma_sandbox.realtime.pgoutput import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    DecodeError,
    Delete,
    Insert,
    Relation,
    Update,
)
from tma_sandbox.realtime.wal import transactions

LARGE = "".join(secrets.token_hex(16) for _ in range(400))  # too large and random for its row


@pytest.fixture
def log_of(postgres, platform_db):
    """Run statements; return the decoded messages of the log."""

    def run(*statements):
        database = conninfo_to_dict(platform_db)["dbname"]
        admin = postgres.dsn(database, "supabase_admin")
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute("create table t (id int primary key, name text, large text)")
            conn.execute("alter publication supabase_realtime add table t")
            conn.execute("select pg_create_logical_replication_slot('s', 'pgoutput', true)")
            for statement in statements:
                conn.execute(statement)
            rows = conn.execute(
                "select data from pg_logical_slot_get_binary_changes('s', null, null,"
                " 'proto_version', '1', 'publication_names', 'supabase_realtime')"
            ).fetchall()
            return [pgoutput.decode(data) for (data,) in rows]

    return run


def test_a_commit_reads_as_begin_relation_rows_commit(log_of):
    """Messages of a transaction are in order, with the table before its rows."""
    before = datetime.now(UTC) - timedelta(seconds=5)

    begin, relation, *rows, commit = log_of("insert into t values (1, 'Zoë', null), (2, '', 'x')")

    assert isinstance(begin, Begin)
    assert isinstance(commit, Commit)
    assert before < begin.committed_at == commit.committed_at < datetime.now(UTC)
    assert relation == Relation(
        oid=relation.oid,
        schema="public",
        name="t",
        identity="d",
        columns=(
            Column("id", 23, key=True),
            Column("name", 25, key=False),
            Column("large", 25, key=False),
        ),
    )
    assert rows == [
        Insert(relation.oid, ("1", "Zoë", None)),
        Insert(relation.oid, ("2", "", "x")),
    ]


def test_an_update_tells_the_old_key_only_when_it_changed(log_of):
    """By default the log has the old key, and only if it has changed."""
    messages = log_of(
        "insert into t values (1, 'a', null)",
        "update t set name = 'b'",
        "update t set id = 2",
    )

    plain, rekeyed = [m for m in messages if isinstance(m, Update)]
    assert (plain.new, plain.old) == (("1", "b", None), None)
    assert (rekeyed.new, rekeyed.old) == (("2", "b", None), ("1", None, None))


def test_a_full_identity_tells_the_whole_former_row(log_of):
    """Under `replica identity full` updates and deletions have the old row."""
    messages = log_of(
        "alter table t replica identity full",
        "insert into t values (1, 'a', null)",
        "update t set name = 'b'",
        "delete from t",
    )

    [updated] = [m for m in messages if isinstance(m, Update)]
    [deleted] = [m for m in messages if isinstance(m, Delete)]
    assert (updated.new, updated.old) == (("1", "b", None), ("1", "a", None))
    assert deleted.old == ("1", "b", None)


def test_a_large_value_left_alone_is_not_in_the_log(log_of):
    """An update that does not change a TOASTed value marks it as unchanged."""
    messages = log_of(f"insert into t values (1, 'a', '{LARGE}')", "update t set name = 'b'")

    [updated] = [m for m in messages if isinstance(m, Update)]
    assert updated.new == ("1", "b", UNCHANGED)


def test_messages_without_rows_are_nothing(log_of):
    """Truncation, types and logical messages decode to None."""
    messages = log_of(
        "create type mood as enum ('fine')",
        "create table moods (id int primary key, mood mood)",
        "alter publication supabase_realtime add table moods",
        "insert into moods values (1, 'fine')",
        "truncate moods",
    )

    assert None in messages
    assert [m.new for m in messages if isinstance(m, Insert)] == [("1", "fine")]
    assert len(transactions(messages)) == 1


def test_changes_are_grouped_by_commit_and_named_by_column(log_of):
    """Changes are grouped by transaction, without empty and rolled back ones."""
    messages = log_of(
        "begin; insert into t values (1, 'a', null); update t set id = 2; commit",
        "begin; insert into t values (7, 'no', null); rollback",
        "truncate t",
        "insert into t values (3, 'c', null); delete from t where id = 3",
    )

    first, second = transactions(messages)
    assert [(c.action, c.new, c.identity) for c in first] == [
        ("INSERT", {"id": "1", "name": "a", "large": None}, {}),
        ("UPDATE", {"id": "2", "name": "a", "large": None}, {"id": "1"}),
    ]
    assert [(c.action, c.new, c.identity) for c in second] == [
        ("INSERT", {"id": "3", "name": "c", "large": None}, {}),
        ("DELETE", {}, {"id": "3"}),
    ]


def test_a_row_is_completed_from_its_full_identity(log_of):
    """An unchanged large value is known if the log has the old row."""
    messages = log_of(
        "alter table t replica identity full",
        f"insert into t values (1, 'a', '{LARGE}')",
        "update t set name = 'b'",
    )

    _, [updated] = transactions(messages)
    assert "large" not in updated.new
    assert updated.record == {"id": "1", "name": "b", "large": LARGE}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"?",
        b"B\0\0",
        b"R\0\0\0\1name without end",
        b"I\0\0\0\1X\0\0",
        b"I\0\0\0\1N\0\1x",
        b"I\0\0\0\1N\0\1t\0\0\0\5abc",
        b"I\0\0\0\1N\0\1t\0\0\0\1\xff",
    ],
    ids=["empty", "unknown", "short", "name", "tag", "value kind", "value short", "not text"],
)
def test_what_is_no_message_is_refused(data):
    """Any other bytes raise DecodeError."""
    with pytest.raises(DecodeError):
        pgoutput.decode(data)
