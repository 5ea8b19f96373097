"""check as a Mini App: what users can do is seen from outside, and what is printed mends it."""

import asyncio
import time

import pytest

from realtime_bridge.commands.check import mini_app
from realtime_bridge.commands.check.access import GRANTS
from realtime_bridge.credentials import web_app_key
from realtime_bridge.database import Rpc, schema_parts
from realtime_bridge.settings import load
from tests.integration.kit import until

WRITER, OTHER = 9007199254740990, 9007199254740991
NAME = "mini-app"
OPEN_INSERT = 'create policy "mine" on tma_events for insert to anon with check (true)'
GULLIBLE = f"""
    create or replace function bridge.user_id() returns bigint
    language sql as 'select {OTHER}::bigint'"""
OPEN_SELECT = 'create policy "mine" on tma_events for select using (true)'


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A bell that does not ring here within two seconds never will."""
    monkeypatch.setattr("realtime_bridge.commands.check.round_trip.RING_SECONDS", 2.0)


async def rows(project):
    return await project.world.sql("select * from tma_events")


async def pay_visit(project):
    """The part of check that is tested here, alone."""
    settings = load({}, project.env_file)
    users = mini_app.ProbeUsers(WRITER, OTHER)
    async with Rpc.of(settings) as rpc:
        return await mini_app.pay_visit(settings, rpc, users, int(time.time()))


async def test_what_a_user_can_do_is_tried(project):
    """Well, where all is well; and nothing is left of it."""
    code, findings = await project.check()

    assert (code, findings[NAME]["status"]) == (0, "ok")
    assert findings[NAME]["milliseconds"] > 0
    assert await rows(project) == []


@pytest.mark.parametrize("name", ["SUPABASE_ANON_KEY", "SUPABASE_PUBLISHABLE_KEY"])
async def test_either_kind_of_public_key_will_do(project, name):
    """Where the gateway knows it."""
    project.configure(SUPABASE_ANON_KEY=project.world.stack.env()[name])

    _, findings = await project.check()

    assert findings[NAME]["status"] == "ok"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (OPEN_INSERT, "a row without proof is let in"),
        (OPEN_INSERT, "a user's row for somebody else is let in"),
        (OPEN_SELECT, "a user reads another user's rows"),
        (OPEN_SELECT, "who proves nobody reads a user's rows"),
        ('create policy "my ""own""" on tma_events using (true)', "is let in"),
        ("alter table tma_events disable row level security", "a row without proof is let in"),
        ("alter table tma_events disable row level security", "reads another user's rows"),
        ('alter policy "users read their own events" on tma_events using (true)', "reads another"),
        (GULLIBLE, "a row with a forged proof is let in"),
        ("revoke insert on tma_events from anon", "permission denied for table"),
        ("revoke insert (dedupe_key) on tma_events from anon", "permission denied for table"),
        ("revoke select on tma_events from anon", "cannot read own rows: permission denied"),
        ("revoke usage on schema bridge from anon", "permission denied for schema bridge"),
        ("revoke execute on function tma_user_id from anon", "permission denied for function"),
        ('drop policy "users insert their own events" on tma_events', "own row is refused"),
        ('drop policy "users read their own events" on tma_events', "does not see own rows"),
    ],
)
async def test_what_users_may_too_much_or_too_little_is_named_and_mended(project, damage, says):
    """Break it, look, paste what is printed, look again; whatever got in was sent to nobody."""
    await project.world.sql(damage)

    code, findings = await project.check()
    left = await rows(project)
    await project.paste(findings[NAME]["fix"])
    after = await project.until_well()

    assert (code, findings[NAME]["status"]) == (1, "failed")
    assert says in findings[NAME]["detail"]
    assert (after[NAME]["status"], after["access"]["status"]) == ("ok", "ok")
    assert "permission denied" not in says or findings[NAME]["fix"]["where"] == "SQL editor"
    assert left == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("create policy mine on plan_requests for insert to anon with check (true)", "lets in"),
        ("create policy mine on plan_requests for select using (true)", "shows rows to who"),
        (
            "create policy mine on plan_requests for select using (tma_user_id() is not null)",
            "shows a user the rows of others",
        ),
        ("alter table plan_requests disable row level security", "lets in"),
        (
            'alter policy "users insert their own requests" on plan_requests with check (true)',
            "lets in",
        ),
    ],
)
async def test_requests_are_tried_without_one(project, damage, says):
    """A planner would begin to work on it: what is tried is a row that no table takes."""
    await project.world.sql("insert into plan_requests (telegram_id) values (5)")
    await project.world.sql(damage)

    code, findings = await project.check()
    (left,) = await project.world.sql("select count(*) from plan_requests")
    await project.paste(findings[NAME]["fix"])
    after = await project.until_well()
    await project.world.sql("delete from plan_requests")

    assert (code, findings[NAME]["status"], left["count"]) == (1, "failed", 1)
    assert f"plan_requests {says}" in findings[NAME]["detail"]
    assert (after[NAME]["status"], after["access"]["status"]) == ("ok", "ok")


async def test_an_opening_that_was_asked_for_is_a_warning(project):
    """As while old copies of a Mini App are in use."""
    await project.world.sql(OPEN_INSERT)
    await project.world.sql("update bridge.settings set allow_unverified = true")

    code, findings = await project.check()
    await project.paste(findings[NAME]["fix"])
    after = await project.until_well()

    assert (code, findings[NAME]["status"]) == (0, "warning")
    assert after[NAME]["status"] == "ok"


async def test_another_bot_is_registered(project):
    """Its users may write, and those of this Mini App may not: the bridge's start says who may."""
    await project.world.sql("delete from bridge.bot_keys")
    await project.world.sql("select register_tma_bot(666, %s)", "ab" * 32)

    code, findings = await project.check()
    async with project.world.running_bridge():
        pass
    after = await project.until_well()

    assert (code, findings[NAME]["status"]) == (1, "failed")
    assert "only other bots are registered, by id: 666" in findings[NAME]["detail"]
    assert "restart `realtime-bridge run`" in findings[NAME]["fix"]["text"]
    assert after[NAME]["status"] == "ok"


async def test_the_bot_is_registered_with_an_old_token(project):
    """BotFather gave a new one, and the bridge was not restarted with it."""
    bot = int(project.world.stack.env()["BOT_TOKEN"].partition(":")[0])
    old = web_app_key(f"{bot}:AAnother-token-of-this-very-same-bot")
    await project.world.sql("select register_tma_bot(%s, %s)", bot, old)

    code, findings = await project.check()

    assert (code, findings[NAME]["status"]) == (1, "failed")
    assert "registered with another token than BOT_TOKEN" in findings[NAME]["detail"]
    assert "restart `realtime-bridge run`" in findings[NAME]["fix"]["text"]


async def test_without_the_public_key_it_is_skipped(project):
    """A key with all rights needs none, and `check` says what it could not try."""
    project.configure(SUPABASE_ANON_KEY=None)

    code, findings = await project.check()

    assert (code, findings[NAME]["status"]) == (0, "skipped")
    assert "SUPABASE_ANON_KEY is not set" in findings[NAME]["detail"]
    assert "publishable or anon key" in findings[NAME]["fix"]["text"]


async def test_a_public_key_of_another_project(project):
    """The Mini App would get 401 for everything."""
    project.configure(SUPABASE_ANON_KEY="sb_publishable_of_quite_another_project_0")

    code, findings = await project.check()

    assert (code, findings[NAME]["status"]) == (1, "failed")
    assert "refuses SUPABASE_ANON_KEY" in findings[NAME]["detail"]
    assert "SUPABASE_ANON_KEY" in findings[NAME]["fix"]["text"]


async def test_nothing_is_inserted_where_it_would_be_sent(project, monkeypatch):
    """In a database that does not know these users."""
    monkeypatch.setattr(mini_app, "pay_visit", None)
    await project.world.sql("alter table tma_events disable trigger settle_user_probe")
    try:
        code, findings = await project.check()
    finally:
        await project.world.sql("alter table tma_events enable trigger settle_user_probe")

    assert (code, findings[NAME]["status"]) == (0, "skipped")
    assert "would send the rows" in findings[NAME]["detail"]


async def test_a_check_that_is_killed_has_sent_nothing(project, monkeypatch):
    """With every row in, and an open policy: no bridge takes them, and any deletes them."""

    async def killed(*_):
        raise SystemExit(137)

    await project.world.sql(OPEN_INSERT)
    with monkeypatch.context() as patch:
        patch.setattr(Rpc, "call", killed)
        with pytest.raises(SystemExit):
            await pay_visit(project)
    await project.world.sql('drop policy "mine" on tma_events')
    left = {row["telegram_id"] for row in await rows(project)}
    await project.world.sql("update tma_events set created_at = now() - interval '61 seconds'")
    real = await project.world.insert(5)

    async def only_the_real_one():
        return [row["id"] for row in await rows(project) if row["settled_at"]] == [real]

    async with project.world.running_bridge(SWEEP_INTERVAL="1", FALLBACK_POLL_INTERVAL="1"):
        await until(only_the_real_one)
    await project.world.sql("delete from tma_events")

    assert left == {WRITER, OTHER}
    assert {message["chat_id"] for message in await project.world.sent()} == {5}


async def test_a_check_that_is_interrupted_cleans_up(project, monkeypatch):
    """Ctrl-C, when its row is in."""
    inserted = asyncio.Event()
    answer = mini_app._MiniApp.rows_of

    async def slow(self, user):
        inserted.set()
        await asyncio.Event().wait()
        return await answer(self, user)

    monkeypatch.setattr(mini_app._MiniApp, "rows_of", slow)
    checking = asyncio.create_task(project.check())
    await inserted.wait()
    before = await rows(project)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking

    assert [row["telegram_id"] for row in before] == [WRITER]
    assert await rows(project) == []


def test_the_fix_grants_what_the_migrations_grant():
    """Word for word, but for white space."""
    migrations = flat(" ".join(part.text for part in schema_parts()))

    for statement in GRANTS.split(";"):
        assert flat(statement) in migrations


def flat(text):
    return " ".join(text.split())
