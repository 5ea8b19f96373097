"""JSON that readers elsewhere break on is refused at the door, and told apart behind it."""

import json
from uuid import uuid4

import psycopg
import pytest

from tests.sql.signing import init_data
from tests.sql.support import Connection, Row, Worker, insert, limits
from tests.sql.test_access import become

TABLES = ("tma_events", "plan_requests")


def nested(levels: int) -> str:
    """Arrays within arrays."""
    return "[" * levels + "]" * levels


POISON = {
    "an array in an array, without end": nested(6000),
    "one level too many": nested(33),
    "an object too deep": '{"a":' * 40 + "1" + "}" * 40,
    "a number of too many digits": "9" * 4301,
    "the same in five characters": "1e16000",
    "a negative one": "[-1e309]",
    "many that are small to send": json.dumps([1])[:-1] + ",1e131071" * 1500 + "]",
    "a whole number that no double can hold": "1.8e308",
    "one with a fraction": "1" + "0" * 309 + ".5",
    "a fraction without end": '{"a": 1e-16000}',
    "a zero without end": '{"a": 0e-16000}',
    "more text than a message needs": json.dumps("x" * 17_000),
}
FINE = {
    "null": "null",
    "text": '"x"',
    "the largest double": "1.7976931348623157e308",
    "the smallest double": "5e-324",
    "as deep as it may be": nested(32),
    "nearly as long as it may be": json.dumps("x" * 15_500),
}


@pytest.fixture
def user(anon: Connection) -> Connection:
    """A Mini App's session of a verified user."""
    become(anon, init_data())
    return anon


def send(user: Connection, table: str, payload: str) -> None:
    """Insert a row with this JSON, as it came over the wire."""
    column = "event_type, " if table == "tma_events" else ""
    value = "'step_completed', " if table == "tma_events" else ""
    user.execute(f"insert into {table} ({column}payload) values ({value}%s::jsonb)", [payload])


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("payload", POISON.values(), ids=POISON.keys())
def test_poison_is_refused(user: Connection, table: str, payload: str) -> None:
    """With an error that PostgREST answers as 400, and a hint that says what is allowed."""
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        send(user, table, payload)

    assert "levels, numbers that fit a double" in str(refused.value.diag.message_hint)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("payload", FINE.values(), ids=FINE.keys())
def test_what_fits_is_taken(user: Connection, table: str, payload: str) -> None:
    """Whatever a browser may have in a message."""
    send(user, table, payload)

    assert user.execute(f"select from {table}").fetchall()


def claimed(worker: Worker, table: str) -> list[Row]:
    """The rows of a claim as the database hands them over."""
    if table != "tma_events":
        return worker.call("claim_tma_requests", table, 100)
    (row,) = worker.call("claim_tma_events", 100, uuid4())
    rows: list[Row] = row["answer"]["rows"]
    return rows


@pytest.mark.parametrize("payload", POISON.values(), ids=POISON.keys())
def test_poison_that_is_there_spoils_no_other(
    database: Connection, worker: Worker, payload: str
) -> None:
    """A claim hands every row over; what cannot be handed over as it is comes as other text."""
    database.execute(
        "insert into tma_events (telegram_id, event_type, payload) values (1, 'x', %s::jsonb)",
        [payload],
    )
    insert(database, telegram_id=2, payload={"fine": True})

    rows = {row["telegram_id"]: row for row in claimed(worker, "tma_events")}

    assert rows[2]["payload"] == '{"fine": true}'
    assert len(rows[1]["payload"]) <= 128 * 1024


@pytest.mark.parametrize("payload", POISON.values(), ids=POISON.keys())
def test_poison_in_a_request_spoils_no_other(
    database: Connection, planner: Worker, payload: str
) -> None:
    """The same for requests."""
    database.execute(
        "insert into plan_requests (telegram_id, payload) values (1, %s::jsonb)", [payload]
    )
    fine = insert(database, "plan_requests", telegram_id=2)

    rows = {row["id"]: row for row in planner.call_lane("claim", 10)}

    assert json.loads(rows.pop(fine)["request"])["telegram_id"] == 2
    (poisoned,) = rows.values()
    assert poisoned["attempt"] == 1
    assert len(poisoned["request"]) <= 128 * 1024


ENDLESS = f"[{','.join(['1e131000'] * 9000)}]"
WAYS_IN = {
    "gathered": {"event_type": "tapped", "payload": ENDLESS},
    "timezone": {"event_type": "x", "payload": f'{{"timezone": {ENDLESS}}}'},
    "tz": {"event_type": "x", "payload": f'{{"tz": {ENDLESS}}}'},
}


@pytest.mark.parametrize("way", WAYS_IN.values(), ids=WAYS_IN.keys())
def test_what_a_claim_itself_reads_of_a_payload_spoils_no_other(
    database: Connection, worker: Worker, way: dict[str, str]
) -> None:
    """The size of a digest's parts, and the zone of quiet hours."""
    other = insert(database, telegram_id=2)
    first = insert(database, event_type="tapped", due_in=-40)
    database.execute(
        "insert into tma_events (telegram_id, event_type, deliver_after, payload)"
        " values (%(chat)s, %(event_type)s, now() - interval '30 s', %(payload)s::jsonb)",
        way | {"chat": 1 if way["event_type"] == "tapped" else 3},
    )
    database.execute(
        "insert into tma_chat_settings (telegram_id, quiet_from, quiet_to)"
        " values (3, '00:00', '23:59:59.999999')"
    )

    rows = worker.ask(20, digests={"tapped": 1}, limits=limits())["rows"]

    assert {row["id"] for row in rows} == {other, first}


BOMBS = {
    "of a gigabyte": ("1e131071", 10_000, 1),
    "of less": ("1e131071", 3000, 1),
    "many of few bytes, compressed": ("1e131071", 200, 64),
    "many of very few bytes": ("1e131071", 20, 64),
    "of small numbers": ("1", 150_000, 1),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.parametrize("table", TABLES)
def test_no_row_makes_a_claim_slow(
    database: Connection, worker: Worker, planner: Worker, table: str, bomb: tuple[str, int, int]
) -> None:
    """Digits that were sent as an exponent are counted before they are written out, and fast."""
    number, numbers, rows = bomb
    columns, values = ("event_type, ", "'x', ") if table == "tma_events" else ("", "")
    database.execute(
        f"insert into {table} (telegram_id, {columns} payload)"
        f" select chat, {values} %s::jsonb from generate_series(1, %s) chat",
        [f"[{','.join([number] * numbers)}]", rows],
    )
    claimer = worker if table == "tma_events" else planner
    claimer.connection.execute("set statement_timeout = '3s'")

    found = claimed(claimer, table)
    claimer.connection.execute("reset statement_timeout")

    assert len(found) == rows


def test_a_column_of_raw_json_spoils_no_other(own: Connection, db: str) -> None:
    """A column of type json keeps what jsonb does not take."""
    own.execute(
        "create table drafts (id bigint primary key, payload json);"
        " select bridge.make_request_table('drafts', array['payload']);"
        " insert into drafts (id, telegram_id, payload) values"
        ' (1, 1, \'{"lead_name": "\\u0000"}\'), (2, 2, \'{"a": 1e999999}\'),'
        ' (3, 3, \'{"lead_name": "Ann"}\')'
    )

    with Worker(db, "drafts") as worker:
        rows = worker.call_lane("claim", 10)

    assert [row["id"] for row in rows] == [1, 2, 3]
    assert json.loads(rows[2]["request"])["lead_name"] == "Ann"


@pytest.mark.parametrize(
    "columns",
    [
        {"created_at": "infinity"},
        {"created_at": "-infinity"},
        {"retry_at": "infinity"},
        {"attempt": 2**31 - 1},
        {"status": "processing", "claimed_at": "infinity", "attempt": 1},
        {"status": "processing", "claimed_at": "2026-01-01"},
    ],
    ids=str,
)
@pytest.mark.parametrize("table", TABLES)
def test_times_and_counts_that_a_claim_cannot_reckon_with_are_refused(
    database: Connection, table: str, columns: dict[str, object]
) -> None:
    """Also from the service: one such row would spoil the claim of all."""
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(database, table, **columns)


@pytest.mark.parametrize("table", TABLES)
def test_a_claim_from_the_future_is_nobodys(
    database: Connection, worker: Worker, planner: Worker, table: str
) -> None:
    """Its lease would never end."""
    insert(database, table, status="processing", claimed_at="9999-01-01", attempt=1)

    swept = (worker if table == "tma_events" else planner).recover()

    assert swept["returned"] == 1
