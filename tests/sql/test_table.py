"""The table refuses rows that contradict themselves."""

import psycopg
import pytest

from tests.sql.support import Connection, Row, insert, read

TIME = "2026-01-01"
PROCESSING = {"status": "processing", "claimed_at": TIME, "attempt": 1}
DELIVERED = {"status": "delivered", "delivered_at": TIME, "settled_at": TIME}
FAILED = {"status": "failed", "failure": "blocked", "settled_at": TIME}


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"attempt": 3, "retries": 3, "retry_at": TIME},
        PROCESSING,
        PROCESSING | {"send_started_at": TIME},
        DELIVERED,
        DELIVERED | {"claimed_at": TIME, "send_started_at": TIME, "message_id": 1},
        FAILED,
        {"dedupe_key": "k" * 200, "locale": "zh-Hant-HK"},
    ],
)
def test_accepts(database: Connection, columns: Row) -> None:
    """Every state that the life of a row knows."""
    assert insert(database, **columns)


@pytest.mark.parametrize(
    ("rule", "columns"),
    [
        ("status_check", {"status": "sent"}),
        ("pending_is_unclaimed", {"claimed_at": TIME}),
        ("started_is_claimed", DELIVERED | {"send_started_at": TIME}),
        ("processing_is_claimed", {"status": "processing", "attempt": 1}),
        ("processing_is_claimed", {"status": "processing", "claimed_at": TIME}),
        ("terminal_is_settled", {"settled_at": TIME}),
        ("terminal_is_settled", DELIVERED | {"settled_at": None}),
        ("terminal_is_settled", FAILED | {"settled_at": None}),
        ("delivered_has_time", DELIVERED | {"delivered_at": None}),
        ("delivered_has_time", FAILED | {"delivered_at": TIME}),
        ("failed_has_failure", FAILED | {"failure": None}),
        ("failed_has_failure", DELIVERED | {"failure": "blocked"}),
        ("failure_is_known", FAILED | {"failure": "bad luck"}),
        ("message_is_delivered", FAILED | {"message_id": 1}),
        ("retry_is_pending", PROCESSING | {"retry_at": TIME}),
        ("retries_within_attempts", {"retries": 1}),
        ("retries_within_attempts", {"attempt": 1, "retries": -1}),
        ("deliver_after_is_finite", {"deliver_after": "infinity"}),
        ("dedupe_key_is_short", {"dedupe_key": "k" * 201}),
        ("dedupe_key_is_short", {"dedupe_key": ""}),
        ("locale_is_short", {"locale": "x" * 36}),
    ],
)
def test_refuses(database: Connection, rule: str, columns: Row) -> None:
    """The rule that is broken is named in the error."""
    with pytest.raises(psycopg.errors.CheckViolation, match=f"tma_events_{rule}"):
        insert(database, **columns)


def test_a_dedupe_key_is_taken_once(database: Connection) -> None:
    """A Mini App that repeats its request makes one event; other users' keys are their own."""
    insert(database, telegram_id=1, dedupe_key="step-7")
    insert(database, telegram_id=2, dedupe_key="step-7")

    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(database, telegram_id=1, dedupe_key="step-7")


def test_a_repeated_insert_may_be_ignored(database: Connection) -> None:
    """`upsert` with `ignoreDuplicates` names the two columns; it must find their index."""
    insert(database, dedupe_key="step-7")

    inserted = database.execute(
        "insert into tma_events (telegram_id, event_type, dedupe_key) values (1, 'x', 'step-7')"
        " on conflict (telegram_id, dedupe_key) do nothing returning id"
    ).fetchall()

    assert inserted == []


def test_one_row_of_a_chat_is_in_flight(database: Connection) -> None:
    """Whatever a function or an operator does, two rows of a chat are never both in hand."""
    insert(database, **PROCESSING)

    with pytest.raises(psycopg.errors.UniqueViolation, match="one_in_flight_per_chat"):
        insert(database, **PROCESSING)


def test_a_new_row_is_pending_and_due(database: Connection) -> None:
    """What an insert leaves out is set so that the row goes at once."""
    row = read(database, insert(database))

    assert (row["status"], row["attempt"], row["retries"]) == ("pending", 0, 0)
    assert row["created_at"] == row["deliver_after"]


def test_everything_is_described(database: Connection) -> None:
    """Tables, columns and functions of ours say in the database what they are."""
    silent = database.execute(
        "select c.relname || coalesce('.' || a.attname, '') as name"
        " from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
        " where c.oid in ('bridge.settings'::regclass, 'bridge.bot_keys'::regclass,"
        "   'bridge.bot_pace'::regclass, 'bridge.chats'::regclass, 'bridge.claim_keys'::regclass,"
        "   'public.tma_events'::regclass) and a.attname not in"
        "   ('id', 'only_row') and not a.attisdropped"
        " and col_description(c.oid, a.attnum) is null"
        " union all"
        " select p.oid::regprocedure::text from pg_proc p"
        " where p.pronamespace in ('public'::regnamespace, 'bridge'::regnamespace)"
        " and obj_description(p.oid, 'pg_proc') is null"
    ).fetchall()

    assert silent == []
