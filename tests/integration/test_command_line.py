"""The commands as a user starts them: what they say, how they end, what they leave."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import jwt
import psutil
import pytest

from tests.integration.kit import until
from tma_sandbox.stack import LocalStack

EXAMPLES = Path(__file__).parents[2] / "examples"
SIGNALS = pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])


def assert_clean(output, *secrets):
    """Assert that a user saw neither a traceback nor a secret."""
    assert "Traceback" not in output
    for secret in secrets:
        assert secret not in output


async def test_a_start_without_settings_names_them_all(start):
    """One message, three problems, each with its fix, exit code 78."""
    run = await start("run")

    assert await run.ended() == 78
    for name in ("SUPABASE_URL", "SUPABASE_KEY", "BOT_TOKEN"):
        assert name in run.output
    assert_clean(run.output)


async def test_a_key_of_another_project_is_refused_with_the_fix(start, world):
    """A well-formed key that this project does not know."""
    key = jwt.encode({"role": "service_role"}, "another project's secret, 32 long")
    run = await start("run", env=world.environment(SUPABASE_KEY=key))

    assert await run.ended() == 78
    assert "SUPABASE_KEY" in run.output
    assert_clean(run.output, key)


async def test_an_unknown_bot_token_is_refused_with_the_fix(start, world):
    """Telegram answers 401 to getMe."""
    await world.fault({"status": 401, "method": "getMe"})
    run = await start("run", env=world.environment())

    assert await run.ended() == 78
    assert "BotFather" in run.output
    assert_clean(run.output, world.stack.env()["BOT_TOKEN"])


async def test_a_wrong_address_says_what_to_check(start, world):
    """Nothing listens there: it may come up later, so the bridge waits, and says so."""
    run = await start("run", env=world.environment(SUPABASE_URL="http://127.0.0.1:9"))

    await run.says("check SUPABASE_URL")
    assert await run.stop() == 0, run.output
    assert_clean(run.output)


async def test_a_database_without_migrations_says_so(start, tmp_path):
    """The fix is the command that brings the schema."""
    async with LocalStack() as bare:
        run = await start("run", env={**bare.env(), "HTTP_PORT": "0"})

        assert await run.ended() == 78
    assert "supabase db push" in run.output
    assert_clean(run.output)


async def test_a_bridge_that_starts_before_postgrest_waits_for_it(start, world):
    """PostgREST is down at the start; when it comes up the row goes out."""
    await world.stack.postgrest.stop()
    try:
        run = await start("run", env=world.environment())
        await run.says("waiting_for_supabase")
        await world.insert(1)
    finally:
        await world.stack.postgrest.start()

    (row,) = await world.settled(1)

    assert row["status"] == "delivered"
    assert await run.stop() == 0
    assert_clean(run.output)


@SIGNALS
async def test_run_stops_cleanly(start, world, sig):
    """Ctrl-C or SIGTERM: exit 0 within five seconds."""
    run = await start("run", env=world.environment(), whole=True)
    await run.says("doorbell_ready")

    assert await run.stop(sig, seconds=5.0) == 0
    assert "stopped" in run.output
    assert_clean(run.output)


async def test_run_tells_nothing_secret_at_debug(start, world):
    """With everything logged, also by the libraries, no key and no token is in the output."""
    environment = world.environment(LOG_LEVEL="DEBUG")
    run = await start("run", env=environment)
    await run.says("doorbell_ready")
    await world.insert(1, payload={"lead_name": "Ann-Secret-Name"})
    await world.settled(1)
    await run.says("delivered")

    assert await run.stop() == 0
    assert_clean(run.output, environment["SUPABASE_KEY"], environment["BOT_TOKEN"])


@SIGNALS
async def test_local_and_run_work_as_the_readme_says_and_leave_nothing(start, tmp_path, sig):
    """`local`, then `run --env-file .env.local` in the same folder; then both are stopped."""
    local = await start("local", "--port", "0", whole=True)
    await local.says("ready\n")
    family = psutil.Process(local.process.pid).children(recursive=True)
    settings = (tmp_path / ".env.local").read_text()
    url = settings.split("SUPABASE_URL=")[1].splitlines()[0]
    run = await start("run", "--env-file", ".env.local", env={"HTTP_PORT": "0"})
    await run.says("doorbell_ready")

    async with aiohttp.ClientSession() as http, http.get(f"{url}/_sent") as response:
        assert await response.json() == []

    assert await run.stop(sig) == 0
    assert await local.stop(sig) == 0
    assert family
    assert not [process for process in family if process.is_running()]
    assert_clean(local.output)
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_the_demo_shows_each_rows_way_and_ends_by_itself(start):
    """One event of each type, its milliseconds, and the text as the user reads it."""
    demo = await start("demo", "--count", "5")

    assert await demo.ended(60) == 0
    for text in (
        "Step 1 marked complete for Ann_Marie <Smith>.",
        "Next: Step 2 — Send the proposal (due in 3 days)",
        "Step 2 skipped for Olena & Sons. Reason: no answer yet",
        "Lead status updated: Żaneta *VIP* → Won",
        "Bob [the builder] 🚀 assigned to Taras.",
        "Action completed for Ann_Marie <Smith>.",
    ):
        assert text in demo.output
    for stage in ("inserted", "claimed", "sent", "delivered"):
        assert stage in demo.output
    assert_clean(demo.output)


async def test_the_demo_stops_at_ctrl_c_and_leaves_nothing(start):
    """In the middle of it: exit 0, and no process is left."""
    demo = await start("demo")
    await demo.says("#1 ")
    family = psutil.Process(demo.process.pid).children(recursive=True)

    assert await demo.stop(signal.SIGINT) == 0
    assert family
    assert not [process for process in family if process.is_running()]
    assert_clean(demo.output)


async def test_a_bot_can_run_the_bridge_inside_itself(start, world):
    """The example: startup and shutdown hooks of an aiogram dispatcher, the bot's own session."""
    bot = await start(env=world.environment(), code=(EXAMPLES / "embedded_bot.py").read_text())
    await bot.says("doorbell_ready")
    await world.insert(7)

    (row,) = await world.settled(1)

    assert row["status"] == "delivered"
    assert await bot.stop(signal.SIGTERM) == 0
    assert_clean(bot.output)


async def test_python_dash_m_is_the_same_command(start):
    """`python -m realtime_bridge --version` answers with the version."""
    command = await start("--version", whole=True)

    assert await command.ended() == 0
    assert "0.1.0" in command.output


async def test_two_replicas_share_the_work(start, world):
    """Two processes, forty chats: every message once, and both have had a part."""
    # So slow that one alone could not send all of it before the other has looked.
    environment = world.environment(LOG_FORMAT="json", CONCURRENCY="4", TELEGRAM_RATE="10")
    replicas = [await start("run", env=environment) for _ in range(2)]
    for replica in replicas:
        await replica.says("doorbell_ready")
    for chat in range(1, 41):
        await world.insert(chat)

    rows = await world.settled(40)

    assert {row["status"] for row in rows} == {"delivered"}
    assert sorted(m["chat_id"] for m in await world.sent()) == list(range(1, 41))

    async def both():
        return all('"delivered"' in replica.output for replica in replicas)

    await until(both)
