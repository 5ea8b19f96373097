"""The users of `check`: whatever is inserted for them is sent to nobody, and soon gone."""

import psycopg
import pytest

from tests.sql.signing import init_data
from tests.sql.support import Connection, Worker, insert, put_back, read
from tests.sql.test_access import become
from tests.sql.test_check import check

USERS = [9007199254740990, 9007199254740991]


def keys(database: Connection) -> list[str]:
    """The dedupe keys of all rows."""
    rows = database.execute("select dedupe_key from tma_events order by id").fetchall()
    return [row["dedupe_key"] for row in rows]


def test_check_is_told_whom_it_may_be(database: Connection) -> None:
    """Ids of 53 bits: Telegram's have 52, and a JavaScript number holds these exactly."""
    assert check(database)["probe_users"] == USERS
    assert all(2**52 <= user < 2**53 for user in USERS)


def test_check_is_told_when_nobody_would_settle_them(own: Connection) -> None:
    """Then nothing may be inserted: it would be sent."""
    own.execute("alter table public.tma_events disable trigger settle_user_probe")

    assert check(own)["probe_users"] is None


@pytest.mark.parametrize("user", USERS)
def test_such_a_user_writes_and_reads_like_any_other(
    anon: Connection, database: Connection, user: int
) -> None:
    """By the same policies; what is stored is a row that was delivered long ago."""
    become(anon, init_data({"id": user, "language_code": "uk"}))

    anon.execute(
        "insert into tma_events (event_type, lead_id, payload, dedupe_key, deliver_after)"
        " values ('step_due', 7, '{\"a\": 1}', 'k', now() + interval '1 day')"
    )
    (seen,) = anon.execute("select * from tma_events").fetchall()

    assert seen == read(database, seen["id"])
    assert (seen["telegram_id"], seen["dedupe_key"]) == (user, "k")
    assert (seen["status"], seen["event_type"]) == ("delivered", "bridge_probe")
    assert (seen["lead_id"], seen["payload"], seen["locale"]) == (None, {}, None)


def test_nobody_takes_it_whoever_wrote_it(database: Connection, worker: Worker) -> None:
    """Not even where row security is off, and the writer says that it is pending."""
    (before,) = worker.call("tma_event_stats")

    row = insert(database, telegram_id=USERS[0], status="pending", deliver_after="epoch")

    assert worker.claim() == []
    assert database.execute("select retry_tma_events(array[%s])", [row]).fetchall() == []
    assert worker.call("recent_tma_events", 3600) == []
    assert worker.call("tma_event_stats") == [before]


def test_it_rings_no_bell(database: Connection) -> None:
    """There is nothing to claim."""
    insert(database, telegram_id=USERS[0])

    assert database.execute("select topic from realtime.messages").fetchall() == []


@pytest.mark.parametrize("by", ["sweep", "check", "probe", "insert", "purge"])
def test_what_was_left_behind_goes(database: Connection, worker: Worker, by: str) -> None:
    """At the latest when a bridge sweeps; a check of this moment keeps its own."""
    left = insert(database, telegram_id=USERS[0], dedupe_key="left")
    put_back(database, 61, left)
    if by != "insert":
        database.execute(
            "alter table tma_events disable trigger settle_user_probe;"
            "insert into tma_events (telegram_id, event_type, status, delivered_at, settled_at,"
            f" dedupe_key) values ({USERS[0]}, 'bridge_probe', 'delivered', now(), now(), 'now');"
            "alter table tma_events enable trigger settle_user_probe"
        )
    match by:
        case "sweep":
            worker.call("sweep_tma", "120 seconds", False)
        case "check":
            worker.call("delete_tma_user_probe", "another check's")
        case "probe":
            worker.call("delete_tma_probe", 0)
        case "insert":
            insert(database, telegram_id=USERS[1], dedupe_key="now")
        case "purge":
            worker.call("purge_tma_events", "30 days")

    assert keys(database) == ["now"]


@pytest.mark.parametrize("role", ["service_role", "tma_bridge"])
def test_a_check_deletes_its_own(sql_dsn: str, database: Connection, role: str) -> None:
    """By its key, with no more rights than the bridge has; a user's row is no probe."""
    for user in (*USERS, 5):
        insert(database, telegram_id=user, dedupe_key="mine")
    insert(database, telegram_id=USERS[0], dedupe_key="another check's")

    with Worker(sql_dsn, role=role) as bridge:
        bridge.call("delete_tma_user_probe", "mine")

    assert keys(database) == ["mine", "another check's"]


def test_nobody_fills_the_table_with_them(anon: Connection, database: Connection) -> None:
    """Twenty at a time for each, in however many statements; they count for no quota."""
    become(anon, init_data({"id": USERS[0]}))
    row = "insert into tma_events (event_type) select 'x' from generate_series(1, {})"
    anon.execute(row.format(19))
    anon.execute(row.format(1))

    with pytest.raises(psycopg.errors.CheckViolation, match="too many checks"):
        anon.execute(row.format(1))
    database.execute("delete from tma_events")
    with pytest.raises(psycopg.errors.CheckViolation, match="too many checks"):
        anon.execute(row.format(21))
