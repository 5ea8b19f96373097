"""tma_bridge_check: what `check` can tell an operator."""

from typing import Any

import pytest

from tests.sql.signing import BOT, web_app_key
from tests.sql.support import Connection, Worker, insert, limits, retry


def check(connection: Connection) -> dict[str, Any]:
    """What tma_bridge_check returns to this session."""
    row = connection.execute("select public.tma_bridge_check() as answer").fetchone()
    assert row
    answer: dict[str, Any] = row["answer"]
    return answer


def test_of_a_fresh_project(worker: Worker) -> None:
    """Everything is there, nothing is open."""
    answer = check(worker.connection)

    fine = {"row_security": True, "rings": True}
    assert answer.pop("now")
    assert answer.pop("tma_bridge")["api"]
    assert answer == {
        "schema_version": 1,
        "role": "service_role",
        "tables": {"tma_events": fine, "plan_requests": fine},
        "publication": True,
        "bells_published": True,
        "tables_published": [],
        "realtime_send": True,
        "lead_names": None,
        "lead_columns": None,
        "lead_rights": None,
        "bots": [],
        "probe_users": [9007199254740990, 9007199254740991],
        "pace": {"limits": None, "limits_differ": False, "paused_seconds": 0, "paused_chats": 0},
        "allow_unverified": False,
        "auth_max_age_seconds": 86400,
        "open_policies": [],
        "missing_functions": [],
        "open_functions": [],
    }


@pytest.mark.parametrize("role", ["service_role", "tma_bridge"])
def test_says_whose_key_it_is(sql_dsn: str, database: Connection, role: str) -> None:
    """The role that the bridge's key stands for."""
    with Worker(sql_dsn, role=role) as worker:
        assert check(worker.connection)["role"] == role


def test_says_how_fast_the_bot_goes(database: Connection, worker: Worker) -> None:
    """By which limits, whether replicas agree on them, and what Telegram has paused."""
    for chat in (1, 2, 3):
        insert(database, telegram_id=chat)
    rows = worker.claim(limits=limits())
    worker.settle(*(retry(row, 60, pause=60) for row in rows))
    worker.claim(limits=limits(bot_per_second=7))

    pace = check(worker.connection)["pace"]

    assert 59 < pace.pop("paused_seconds") <= 60
    assert pace == {
        "limits": limits(bot_per_second=7),
        "limits_differ": True,
        "paused_chats": 3,
    }


def test_says_which_bots_are_known(worker: Worker) -> None:
    """Users of other bots are nobody."""
    worker.call("register_tma_bot", BOT, web_app_key())

    assert check(worker.connection)["bots"] == [BOT]


@pytest.mark.parametrize(
    ("spoil", "table", "finding"),
    [
        ("alter table plan_requests disable row level security", "plan_requests", "row_security"),
        ("alter table tma_events disable trigger tma_bell", "tma_events", "rings"),
    ],
)
def test_finds_what_is_missing(own: Connection, spoil: str, table: str, finding: str) -> None:
    """What somebody switched off by accident."""
    own.execute(spoil)

    tables = check(own)["tables"]

    assert not tables[table].pop(finding)
    assert all(value for found in tables.values() for value in found.values())


def test_knows_what_realtime_publishes(own: Connection) -> None:
    """The changes bell, and what others want to hear of."""
    own.execute(
        "alter publication supabase_realtime drop table bridge.bells;"
        " alter publication supabase_realtime add table tma_events"
    )

    found = check(own)

    assert (found["bells_published"], found["tables_published"]) == (False, ["tma_events"])


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ("for all using (true)", "all"),
        ("for select to anon using (true)", "select"),
        ("for insert to authenticated with check (true)", "insert"),
        ("for select to service_role using (true)", None),
        ("as restrictive for select using (true)", None),
    ],
)
def test_finds_policies_that_open_a_table(own: Connection, policy: str, found: str | None) -> None:
    """Whatever it is called: a policy adds to ours, it does not narrow them."""
    own.execute(f'create policy "mine" on public.tma_events {policy}')

    expected = [{"table": "tma_events", "policy": "mine", "command": found}] if found else []
    assert check(own)["open_policies"] == expected


def test_finds_policies_that_open_the_settings_of_chats(own: Connection) -> None:
    """Whoever may change them can mute any user's messages."""
    own.execute('create policy "mine" on public.tma_chat_settings for update using (true)')

    expected = {"table": "tma_chat_settings", "policy": "mine", "command": "update"}
    assert check(own)["open_policies"] == [expected]


def test_finds_functions_that_anybody_can_call(own: Connection) -> None:
    """Recreating a function under Supabase's default privileges opens it to anon."""
    own.execute("grant execute on function public.claim_tma_events to anon")
    own.execute("grant execute on function bridge.ring(text) to public")

    assert check(own)["open_functions"] == [
        "bridge.ring(text)",
        "public.claim_tma_events(integer,uuid,jsonb,integer,jsonb)",
    ]


@pytest.mark.parametrize(
    ("spoil", "missing"),
    [
        ("drop function public.settle_tma_events", ["settle_tma_events"]),
        ("drop function public.count_tma_requests", ["count_tma_requests"]),
        ("revoke execute on function public.sweep_tma from service_role", ["sweep_tma"]),
    ],
)
def test_finds_functions_that_the_bridge_cannot_call(
    own: Connection, spoil: str, missing: list[str]
) -> None:
    """Gone, or no longer open to the caller's role."""
    own.execute(spoil)
    own.execute("set role service_role")

    assert check(own)["missing_functions"] == missing


def test_says_where_else_names_may_be(own: Connection) -> None:
    """Columns of text, for whoever writes a tma_lead_name() of his own."""
    own.execute("create table public.leads (id bigint, title text, since date, city varchar(9))")

    assert check(own)["lead_columns"] == ["title", "city"]


@pytest.mark.parametrize(
    ("made", "source"),
    [
        ("create table public.leads (id bigint, title text)", None),
        (
            "create table public.leads (id bigint, prospect_name text)",
            "public.leads.prospect_name",
        ),
        (
            """create or replace function public.tma_lead_name(p_lead_id bigint) returns text
            language sql as $$ select 'x' $$""",
            "public.tma_lead_name",
        ),
    ],
)
def test_says_where_names_come_from(own: Connection, made: str, source: str | None) -> None:
    """Null means from the payload alone."""
    own.execute(made)

    assert check(own)["lead_names"] == source


def test_says_whether_the_bridges_role_hears_broadcasts(own: Connection) -> None:
    """Whether an operator could grant that depends on the age of the project."""
    hears = check(own)["tma_bridge"]["broadcasts"]

    own.execute("revoke usage on schema realtime from tma_bridge")

    assert (hears, check(own)["tma_bridge"]["broadcasts"]) == (True, False)
