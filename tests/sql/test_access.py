"""Who may write what: a verified user, for himself, within limits, with errors that help."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.sql.signing import BOT, USER, init_data, web_app_key
from tests.sql.support import Connection, Row, Worker, connect, insert, read
from tma_sandbox.postgres import Postgres

ME = int(str(USER["id"]))


def become(connection: Connection, header: str | None) -> None:
    """Let the session's requests carry this header."""
    headers = {} if header is None else {"x-telegram-init-data": header}
    connection.execute("select set_config('request.headers', %s, false)", [json.dumps(headers)])


@pytest.fixture(params=["anon", "authenticated"])
def user(
    request: pytest.FixtureRequest, requesters: dict[str, Connection], worker: Worker
) -> Connection:
    """A Mini App's session of a verified user, by the anon key or signed in."""
    worker.call("register_tma_bot", BOT, web_app_key())
    connection = requesters[request.param]
    connection.execute("reset all")
    become(connection, init_data())
    return connection


def send(connection: Connection, rows: int = 1, **columns: Any) -> list[Row]:
    """Insert events as PostgREST does for `.insert(...).select()`, all in one statement."""
    values = {"event_type": "step_completed"} | columns
    return connection.execute(
        sql.SQL(
            "insert into public.tma_events ({}) select {} from generate_series(1, {}) returning *"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            sql.Literal(rows),
        ),
        [Jsonb(v) if isinstance(v, dict | list) else v for v in values.values()],
    ).fetchall()


# A user's own rows


def test_the_row_is_the_users_own(user: Connection) -> None:
    """Without a telegram_id the row is for whom the header proves, in the user's language."""
    (row,) = send(user, lead_id=7, payload={"step_id": 3}, dedupe_key="k")

    assert (row["telegram_id"], row["locale"], row["status"]) == (ME, "uk", "pending")


def test_naming_oneself_is_fine(user: Connection) -> None:
    """A Mini App that sends its telegram_id goes on working."""
    assert send(user, telegram_id=ME)


def test_an_insert_rings_the_bell(user: Connection, database: Connection) -> None:
    """A user rings without having any right to broadcast."""
    send(user)

    heard = database.execute("select topic from realtime.messages").fetchall()
    assert heard == [{"topic": "tma_bell"}]


def test_reads_own_rows_only(user: Connection, database: Connection) -> None:
    """Whoever else has rows, a user sees his."""
    insert(database, telegram_id=ME + 1)
    (mine,) = send(user)

    assert user.execute("select id from tma_events").fetchall() == [{"id": mine["id"]}]


@pytest.mark.parametrize("language", [None, "", 7, "no language", "x" * 40, {"a": 1}])
def test_a_language_that_is_none_is_left_out(user: Connection, language: object) -> None:
    """The locale is best effort, never an error."""
    become(user, init_data(USER | {"language_code": language}))

    assert send(user)[0]["locale"] is None


# Refused, with words that help


@pytest.mark.parametrize("header", [None, "", "garbage", init_data(age=90_000)])
def test_nobody_inserts_nothing(user: Connection, header: str | None) -> None:
    """Without a proof: 401 for anon, 403 for a JWT, and how to send the proof."""
    become(user, header)

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="proves no Telegram user") as no:
        send(user)

    assert "x-telegram-init-data" in str(no.value.diag.message_hint)


def test_nobody_inserts_nothing_for_a_named_user(user: Connection) -> None:
    """Naming a user is no proof of being him."""
    become(user, None)

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="proves no Telegram user"):
        send(user, telegram_id=ME)


def test_nobody_reads_nothing(user: Connection, database: Connection) -> None:
    """Empty, not an error: PostgREST answers 200 and no rows."""
    insert(database, telegram_id=ME)
    become(user, None)

    assert user.execute("select * from tma_events").fetchall() == []


@pytest.mark.parametrize("other", [ME + 1, -100123, 0, None])
def test_nobody_else_is_written_to(user: Connection, other: int | None) -> None:
    """Not another user, not a group."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="is not the user") as refused:
        send(user, telegram_id=other)

    assert "Leave telegram_id out" in str(refused.value.diag.message_hint)


def test_one_foreign_row_spoils_the_statement(user: Connection) -> None:
    """All or nothing."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        user.execute(
            "insert into tma_events (telegram_id, event_type)"
            " values (%s, 'step_completed'), (5, 'step_completed')",
            [ME],
        )

    assert user.execute("select id from tma_events").fetchall() == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 1),
        ("status", "delivered"),
        ("created_at", "2026-01-01"),
        ("delivered_at", "2026-01-01"),
        ("locale", "en"),
        ("attempt", 5),
        ("retries", 0),
        ("retry_at", "2026-01-01"),
        ("claimed_at", "2026-01-01"),
        ("send_started_at", "2026-01-01"),
        ("settled_at", "2026-01-01"),
        ("message_id", 5),
        ("failure", "blocked"),
        ("error", "x"),
    ],
)
def test_the_bridges_columns_are_the_bridges(user: Connection, column: str, value: object) -> None:
    """A user cannot say what the bridge did."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table"):
        send(user, **{column: value})


@pytest.mark.parametrize(
    "statement",
    [
        "update tma_events set payload = '{}'",
        "delete from tma_events",
        "truncate tma_events",
        "select * from bridge.bot_keys",
        "select * from bridge.settings",
        "select bridge.verified_user()",
        "select claim_tma_events(1, gen_random_uuid())",
        "select tma_lead_name(1)",
        "select register_tma_bot(1, repeat('ab', 32))",
    ],
)
def test_the_rest_is_shut(user: Connection, statement: str) -> None:
    """A user inserts and reads, and that is all."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        user.execute(statement)


@pytest.mark.parametrize(
    "event_type", ["", " ", "1x", "a b", "a/../b", "é", "x\n", "<b>", "x" * 65, "../../etc"]
)
def test_refuses_an_event_type_that_is_none(user: Connection, event_type: str) -> None:
    """A type names a template, so it is a plain word."""
    with pytest.raises(psycopg.errors.CheckViolation, match="event_type") as refused:
        send(user, event_type=event_type)

    assert "letters" in str(refused.value.diag.message_hint)


@pytest.mark.parametrize("event_type", ["step_completed", "stepCompleted", "crm:lead.won-2", "X"])
def test_accepts_event_types_of_ones_own(user: Connection, event_type: str) -> None:
    """New types need no migration."""
    assert send(user, event_type=event_type)


def test_refuses_a_large_payload(user: Connection) -> None:
    """16 kB by default, with the number in the hint."""
    fine = send(user, payload={"reason": "x" * 16_000})
    with pytest.raises(psycopg.errors.CheckViolation, match="payload is too large") as refused:
        send(user, payload={"reason": "x" * 16_400})

    assert fine
    assert "16384 bytes" in str(refused.value.diag.message_hint)


@pytest.mark.parametrize("when", ["2100-01-01", "infinity"])
def test_refuses_a_schedule_too_far_ahead(user: Connection, when: str) -> None:
    """A year by default."""
    with pytest.raises(psycopg.errors.CheckViolation, match="deliver_after is too far ahead"):
        send(user, deliver_after=when)


@pytest.mark.parametrize("when", ["1970-01-01", "-infinity", None])
def test_nobody_jumps_the_queue(user: Connection, when: str | None) -> None:
    """A time in the past means now, or its row would go before everybody else's."""
    (row,) = send(user, deliver_after=when)

    assert row["deliver_after"] == row["created_at"]


def test_schedules_within_the_limit(user: Connection) -> None:
    """A Mini App may remind its user."""
    soon = user.execute("select now() + interval '30 days' as soon").fetchone()
    assert soon

    (row,) = send(user, deliver_after=soon["soon"])

    assert row["deliver_after"] == soon["soon"]


# Limits per user


def test_a_user_cannot_fill_the_queue(user: Connection, database: Connection) -> None:
    """A hundred rows may wait; the next is refused until some have gone."""
    send(user, rows=100)

    with pytest.raises(psycopg.errors.CheckViolation, match="too many events wait") as refused:
        send(user)

    assert "Up to 100" in str(refused.value.diag.message_hint)
    database.execute("delete from tma_events where id = (select min(id) from tma_events)")
    assert send(user)


def test_an_event_sent_again_is_no_row_more(user: Connection) -> None:
    """Who had no answer to the last row that was allowed is told that it is there."""
    send(user, rows=99)
    send(user, dedupe_key="the last")

    again = user.execute(
        "insert into tma_events (event_type, dedupe_key) values ('x', 'the last')"
        " on conflict do nothing"
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        send(user, dedupe_key="the last")

    assert again.rowcount == 0


def test_the_limit_counts_a_whole_statement(user: Connection) -> None:
    """A bulk insert goes as a whole or not at all."""
    with pytest.raises(psycopg.errors.CheckViolation, match="too many events wait"):
        send(user, rows=101)

    assert user.execute("select id from tma_events").fetchall() == []


def test_the_limit_counts_what_waits(user: Connection, database: Connection) -> None:
    """Rows delivered, rows of others and reminders for later take no place."""
    send(user, rows=100)
    database.execute(
        "update tma_events set status = 'delivered', delivered_at = now(), settled_at = now()"
    )
    for _ in range(3):
        insert(database, telegram_id=ME + 1)
        insert(database, telegram_id=ME, due_in=3600)

    assert len(send(user, rows=100)) == 100


def test_scheduled_rows_have_a_limit_of_their_own(user: Connection, database: Connection) -> None:
    """Reminders do not keep confirmations out, and cannot be without end either."""
    database.execute("update bridge.settings set max_scheduled_per_user = 3")
    send(user, rows=3, deliver_after="tomorrow")

    with pytest.raises(psycopg.errors.CheckViolation, match="too many events are scheduled"):
        send(user, deliver_after="tomorrow")

    assert send(user)


def test_inserts_at_the_same_time_share_the_limit(
    user: Connection, sql_dsn: str, database: Connection
) -> None:
    """A second insert waits for the first and counts its rows."""
    database.execute("update bridge.settings set max_pending_per_user = 5")
    role = user.execute("select current_user as name").fetchone()
    assert role
    with connect(sql_dsn, role["name"], autocommit=False) as other:
        become(other, init_data())
        send(other, rows=4)
        user.execute("set lock_timeout = '50ms'")

        with pytest.raises(psycopg.errors.LockNotAvailable):
            send(user, rows=4)
        other.commit()

    with pytest.raises(psycopg.errors.CheckViolation, match="too many events wait"):
        send(user, rows=4)


def test_a_request_that_began_earlier_counts_what_came_meanwhile(
    user: Connection, sql_dsn: str, database: Connection
) -> None:
    """To its own clock these rows are due later; they wait all the same."""
    database.execute("update bridge.settings set max_pending_per_user = 5")
    with connect(sql_dsn, "anon", autocommit=False) as early:
        become(early, init_data())
        send(user, rows=5)

        with pytest.raises(psycopg.errors.CheckViolation, match="too many events wait"):
            send(early)


def test_inserts_of_the_same_keys_do_not_wait_in_a_circle(
    user: Connection, sql_dsn: str, database: Connection
) -> None:
    """A deadlock would be an error of the server to the Mini App."""
    with (
        connect(sql_dsn, "anon", autocommit=False) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        become(other, init_data())
        send(other, dedupe_key="a")
        bulk = thread.submit(
            user.execute,
            "insert into tma_events (event_type, dedupe_key) values ('x', 'b'), ('x', 'a')"
            " on conflict do nothing",
        )
        blocked = "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
        while not database.execute(blocked, [other.info.backend_pid]).fetchall():
            assert not bulk.done()

        send(other, dedupe_key="b")
        other.commit()

        assert bulk.result().rowcount == 0


def test_rows_of_the_near_future_are_rows_that_wait(user: Connection, database: Connection) -> None:
    """Scheduling a little ahead passes no limit: what has come due meanwhile counts."""
    database.execute(
        "update bridge.settings set max_pending_per_user = 5, max_scheduled_per_user = 20"
    )
    send(user, rows=20, deliver_after="tomorrow")
    database.execute("update tma_events set deliver_after = now()")

    with pytest.raises(psycopg.errors.CheckViolation, match="too many events wait"):
        send(user, deliver_after="tomorrow")
    with pytest.raises(psycopg.errors.CheckViolation, match="too many events wait"):
        send(user)


@pytest.mark.parametrize(
    ("when", "expected"), [(None, "too many events wait"), ("tomorrow", "are scheduled")]
)
def test_a_large_insert_is_refused_at_the_first_row_too_many(
    user: Connection, database: Connection, when: str | None, expected: str
) -> None:
    """Not after all of them: the rows behind it are not even looked at."""
    database.execute(
        "update bridge.settings set max_pending_per_user = 5, max_scheduled_per_user = 5"
    )
    send(user, rows=3, deliver_after=when)
    user.execute("create temporary sequence if not exists looked_at")
    user.execute("alter sequence looked_at restart")

    with pytest.raises(psycopg.errors.CheckViolation, match=expected):
        user.execute(
            "insert into tma_events (event_type, deliver_after)"
            " select 'x' || nextval('looked_at'), %s::timestamptz from generate_series(1, 10000)",
            [when],
        )

    assert user.execute("select last_value from looked_at").fetchall() == [{"last_value": 3}]


def test_who_asks_is_found_out_once_for_all_rows(
    postgres: Postgres, sql_dsn: str, user: Connection
) -> None:
    """However many rows: the signature is looked at as often as for one."""
    admin_dsn = postgres.dsn(sql_dsn.rpartition("/")[2], "supabase_admin")

    def looks(rows: int) -> int:
        with connect(admin_dsn) as session, session.transaction(force_rollback=True):
            session.execute("set local track_functions = 'all'; set local role anon")
            become(session, init_data())
            send(session, rows=rows)
            row = session.execute(
                "select pg_stat_get_xact_function_calls(oid) as calls from pg_proc"
                " where proname = 'verified_user'"
            ).fetchone()
        assert row
        return int(row["calls"])

    assert looks(50) == looks(1)


def test_trusted_roles_have_no_limits(database: Connection, worker: Worker) -> None:
    """A backend with the service key writes to whom and what it wants."""
    database.execute("update bridge.settings set max_pending_per_user = 1")

    event = insert(
        worker.connection,
        telegram_id=-100123,
        event_type="any type",
        payload={"reason": "x" * 20_000},
        deliver_after="2100-01-01",
        locale="de",
    )
    insert(worker.connection, telegram_id=-100123)
    insert(worker.connection, telegram_id=-100123)

    assert str(read(database, event)["deliver_after"]).startswith("2100")


def test_a_role_of_the_users_own_can_insert(
    postgres: Postgres, sql_dsn: str, database: Connection
) -> None:
    """A project may have granted another role to insert; our defaults do not stop it."""
    admin_dsn = postgres.dsn(sql_dsn.rpartition("/")[2], "supabase_admin")
    with psycopg.connect(admin_dsn) as admin:
        admin.execute("create role backend bypassrls; grant insert on tma_events to backend")
        admin.execute("set local role backend")

        done = admin.execute("insert into tma_events (telegram_id, event_type) values (1, 'x')")

        assert done.rowcount == 1
        admin.rollback()
