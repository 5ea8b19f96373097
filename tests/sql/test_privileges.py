"""The matrix: every role by every table, column, function and sequence of ours."""

import pytest

from realtime_bridge.database import migrations_directory
from tests.sql.support import Connection, Worker, connect, delivered, insert
from tma_sandbox import migrations
from tma_sandbox.postgres import Postgres

ROLES = ("anon", "authenticated", "service_role", "tma_bridge")
USERS = {"anon", "authenticated"}
BRIDGES = {"service_role", "tma_bridge"}

BRIDGE_FUNCTIONS = [
    "claim_tma_events(integer,uuid,jsonb,integer,jsonb)",
    "claim_tma_requests(text,integer)",
    "count_failed_tma_events(bigint[],text,timestamp with time zone,timestamp with time zone)",
    "count_tma_requests(text)",
    "delete_tma_probe(bigint)",
    "delete_tma_user_probe(text)",
    "failed_tma_events(double precision,integer)",
    "insert_tma_probe()",
    "purge_tma_events(interval,integer)",
    "recent_tma_events(double precision,integer)",
    "recover_tma_events(interval,boolean)",
    "recover_tma_requests(text,interval)",
    "register_tma_bot(bigint,text)",
    "release_tma_events(jsonb)",
    "release_tma_requests(text,jsonb)",
    "report_tma_progress(text,bigint,integer,jsonb)",
    "retry_tma_events(bigint[],text,timestamp with time zone,timestamp with time zone,integer)",
    "settle_tma_events(jsonb)",
    "settle_tma_requests(text,jsonb)",
    "start_tma_events(jsonb)",
    "sweep_tma(interval,boolean,jsonb,jsonb)",
    "tma_backlog()",
    "tma_bridge_check()",
    "tma_event_details(bigint)",
    "tma_event_minutes()",
    "tma_event_stats()",
    "tma_event_ways(integer)",
    "tma_replicas()",
    "waiting_tma_events(integer)",
    "withdraw_tma_events(bigint[])",
    "withdraw_waiting_tma_events(text,integer)",
]
FUNCTIONS = {
    **dict.fromkeys(BRIDGE_FUNCTIONS, BRIDGES),
    "tma_event_content(bigint)": {"service_role"},
    "tma_lead_context(bigint)": {"service_role"},
    "tma_lead_name(bigint)": {"service_role"},
    "tma_user_id()": USERS | BRIDGES,
    "bridge.user_id()": USERS | BRIDGES,
    "bridge.statement_user_id()": USERS | BRIDGES,
    "bridge.statement_user_locale()": USERS | BRIDGES,
    "tma_may_see_lead(bigint,bigint)": USERS | {"service_role"},
    "bridge.must_be_own(bigint,bigint)": USERS,
    "reschedule_tma_event(text,timestamp with time zone)": USERS,
    "withdraw_tma_event(text)": USERS,
}
"""Who may execute a function; what is not here, nobody may."""

INSERTABLE = {
    "tma_events": {
        "telegram_id",
        "event_type",
        "lead_id",
        "payload",
        "dedupe_key",
        "deliver_after",
    },
    "plan_requests": {"telegram_id", "lead_id", "payload", "dedupe_key"},
    "tma_chat_settings": {"telegram_id", "timezone", "quiet_from", "quiet_to", "muted"},
}
"""What a user may write."""

UPDATABLE = {"tma_chat_settings": INSERTABLE["tma_chat_settings"]}
"""What a user may change afterwards."""

SEEN_BY_THE_BRIDGE = {"tma_events": {"id"}, "plan_requests": {"id"}}
"""What the narrow role may read: Realtime asks for it."""


def test_functions(database: Connection) -> None:
    """Each of ours can be called by exactly whom the table above names."""
    rows = database.execute(
        "select p.oid::regprocedure::text as name, array_agg(role) as allowed"
        " from pg_proc p, unnest(%s::text[]) role"
        " where p.pronamespace in ('public'::regnamespace, 'bridge'::regnamespace)"
        " and has_function_privilege(role, p.oid, 'execute') group by 1",
        [list(ROLES)],
    )

    assert {row["name"]: set(row["allowed"]) for row in rows} == FUNCTIONS


def test_functions_fix_their_search_path(database: Connection) -> None:
    """No caller can slip a table of his own under a function of ours."""
    loose = database.execute(
        "select p.oid::regprocedure::text as name from pg_proc p"
        " where p.pronamespace in ('public'::regnamespace, 'bridge'::regnamespace)"
        " and not coalesce(p.proconfig @> array['search_path=\"\"'], false)"
    ).fetchall()

    assert loose == []


@pytest.mark.parametrize("table", INSERTABLE)
def test_columns(database: Connection, table: str) -> None:
    """Users read all of their rows and write what a message needs; the bridge sees ids."""
    rows = database.execute(
        "select role, verb, array_agg(a.attname::text) as columns"
        " from unnest(%s::text[]) role, unnest(array['select', 'insert', 'update']) verb,"
        " pg_attribute a"
        " where a.attrelid = %s::regclass and a.attnum > 0"
        " and has_column_privilege(role, a.attrelid, a.attnum, verb) group by 1, 2",
        [list(ROLES), table],
    ).fetchall()
    every = database.execute(
        "select array_agg(attname::text) as columns from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0",
        [table],
    ).fetchone()
    assert every
    columns = set(every["columns"])

    expected = {
        **{(role, "select"): columns for role in USERS},
        **{(role, "insert"): INSERTABLE[table] for role in USERS},
        **{(role, "update"): UPDATABLE.get(table) for role in USERS},
        **{("service_role", verb): columns for verb in ("select", "insert", "update")},
        ("tma_bridge", "select"): SEEN_BY_THE_BRIDGE.get(table),
    }
    assert {(row["role"], row["verb"]): set(row["columns"]) for row in rows} == {
        who: columns for who, columns in expected.items() if columns
    }


@pytest.mark.parametrize(
    "table",
    [
        "tma_events",
        "plan_requests",
        "tma_chat_settings",
        "bridge.settings",
        "bridge.bot_keys",
        "bridge.bells",
        "bridge.request_tables",
        "bridge.bot_pace",
        "bridge.chats",
        "bridge.claim_keys",
        "bridge.event_history",
        "bridge.replicas",
        "bridge.event_heads",
    ],
)
def test_tables(database: Connection, table: str) -> None:
    """Whole tables are for the service key; the bridge's own are for their owner alone."""
    rows = database.execute(
        "select role, array_agg(verb order by verb) as verbs from unnest(%s::text[]) role,"
        " unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references',"
        " 'trigger']) verb where has_table_privilege(role, %s, verb) group by 1",
        [list(ROLES), table],
    )

    expected = {}
    if table == "bridge.bells":
        expected = {role: ["select"] for role in sorted(BRIDGES)}
    elif not table.startswith("bridge."):
        own = ["delete", "select"] if table == "tma_chat_settings" else ["select"]
        expected = dict.fromkeys(sorted(USERS), own)
        expected["service_role"] = ["delete", "insert", "select", "update"]
    assert {row["role"]: row["verbs"] for row in rows} == expected


def test_sequences(database: Connection) -> None:
    """Nobody needs one: ids are identities."""
    open_sequences = database.execute(
        "select role, c.relname from unnest(%s::text[]) role, pg_class c"
        " where c.relkind = 'S' and c.relnamespace = 'public'::regnamespace"
        " and has_sequence_privilege(role, c.oid, 'usage, select, update')",
        [list(ROLES)],
    ).fetchall()

    assert open_sequences == []


def test_schemas(database: Connection) -> None:
    """Names in `bridge` can be resolved, nothing can be made there."""
    rows = database.execute(
        "select role, verb from unnest(%s::text[]) role, unnest(array['usage', 'create']) verb"
        " where has_schema_privilege(role, 'bridge', verb)",
        [list(ROLES)],
    )

    assert {(row["role"], row["verb"]) for row in rows} == {(role, "usage") for role in ROLES}


def test_row_security_is_on(database: Connection) -> None:
    """On every table of ours that the API shows."""
    off = database.execute(
        "select relname from pg_class where relkind = 'r' and not relrowsecurity"
        " and relnamespace = 'public'::regnamespace"
    ).fetchall()

    assert off == []


def test_the_api_can_take_on_the_bridges_role(database: Connection) -> None:
    """PostgREST and Realtime switch to the role that a JWT names; nobody logs in as it."""
    row = database.execute(
        "select pg_has_role('authenticator', 'tma_bridge', 'member') as api,"
        " pg_has_role('supabase_realtime_admin', 'tma_bridge', 'member') as realtime,"
        " rolcanlogin or rolsuper or rolbypassrls or rolcreaterole as mighty"
        " from pg_roles where rolname = 'tma_bridge'"
    ).fetchone()

    assert row == {"api": True, "realtime": True, "mighty": False}


def test_the_bridge_works_in_its_own_role(sql_dsn: str, database: Connection) -> None:
    """From the claim to the end of a row without any right to the table."""
    for chat in (1, 2, 3):
        insert(database, telegram_id=chat)

    with Worker(sql_dsn, role="tma_bridge") as bridge:
        sent, back, gone = bridge.claim()
        bridge.start(sent)
        bridge.settle(delivered(sent))
        bridge.release(back)
        bridge.recover()
        bridge.call("tma_event_stats")
        bridge.call("purge_tma_events", "1 day", 10)
        bridge.call("tma_bridge_check")
        visible = bridge.connection.execute("select id from tma_events order by id").fetchall()

    assert [row["id"] for row in visible] == [sent["id"], back["id"], gone["id"]]


@pytest.fixture
def hosted(postgres: Postgres, platform_db: str) -> str:
    """A project whose operator may grant on Realtime's schema, as on today's hosted ones."""
    name = platform_db.rpartition("/")[2]
    with connect(postgres.dsn(name, "supabase_admin")) as admin:
        admin.execute("grant usage on schema realtime to postgres with grant option")
    return platform_db


def test_the_bridge_hears_its_private_topic_and_no_other(hosted: str) -> None:
    """As Realtime asks: in the role of the JWT, with the topic set."""
    migrations.apply(hosted, migrations_directory())
    heard = {}

    with connect(hosted) as owner:
        insert(owner)
        owner.execute("select realtime.send('{}', 'x', 'somebody elses', true)")
    for role in ("tma_bridge", "anon", "authenticated"):
        with connect(hosted, role) as listener:
            for topic in ("tma_bell", "somebody elses"):
                listener.execute("select set_config('realtime.topic', %s, false)", [topic])
                heard[role, topic] = len(
                    listener.execute(
                        "select from realtime.messages where topic = %s"
                        # but for the ring with which the migrations end
                        " and payload ->> 'table' is distinct from 'bells'",
                        [topic],
                    ).fetchall()
                )

    assert heard == {
        ("tma_bridge", "tma_bell"): 1,
        ("tma_bridge", "somebody elses"): 0,
        ("anon", "tma_bell"): 0,
        ("anon", "somebody elses"): 0,
        ("authenticated", "tma_bell"): 0,
        ("authenticated", "somebody elses"): 0,
    }
