"""No secret in any output, whoever writes it."""

from urllib.parse import quote, quote_plus

import pytest

from realtime_bridge.credentials import tokens
from tests.integration.kit import Process, until

PIECE = 12  # so many characters in a row are too many


def pieces_in(output, secret):
    """The pieces of a secret that can be read in an output."""
    return {
        secret[at : at + PIECE]
        for at in range(len(secret) - PIECE + 1)
        if secret[at : at + PIECE] in output
    }


def what_nobody_may_read(environment):
    """Each secret's telling part, and what is made of it."""
    token = environment["BOT_TOKEN"]
    for key in (environment["SUPABASE_KEY"], environment["SUPABASE_JWT_SECRET"]):
        yield key.rpartition(".")[2]  # of a JWT the signature: the rest says nothing new
    yield token.partition(":")[2]
    yield tokens.web_app_key(token)
    for secret in (environment["SUPABASE_KEY"], token):
        yield quote(secret, safe="")
        yield quote_plus(secret)


def assert_silent(output, environment):
    for secret in what_nobody_may_read(environment):
        assert pieces_in(output, secret) == set() or secret.startswith("eyJ"), "a secret was said"
        assert secret not in output


async def test_a_bridge_that_says_everything_says_no_secret(world, tmp_path):
    """At DEBUG, with asyncio's own debugging, through good times and every kind of bad ones."""
    environment = world.environment(LOG_LEVEL="DEBUG", LOG_FORMAT="json", PYTHONASYNCIODEBUG="1")
    bridge = await Process.start("run", cwd=tmp_path, env=environment)
    try:
        await bridge.says("doorbell_ready")
        await world.fault(
            {"status": 403, "method": "sendMessage"},
            {"drop": "after_accept", "method": "sendMessage"},
        )
        await world.insert(1)
        await world.insert(2)
        await world.insert(3)
        await world.settled(3)
        world.stack.realtime.refuse(503)
        world.stack.realtime.drop_sockets()
        await bridge.says("doorbell_lost")
        await bridge.says("HTTP 503")
        await world.stack.postgrest.stop()
        await bridge.says("queue_unavailable")
    finally:
        world.stack.realtime.refuse(None)
        await world.stack.postgrest.start()
        code = await bridge.stop()

    assert code == 0, bridge.output
    assert "[secret]" in bridge.output  # there was something to hide
    assert len(bridge.output) > 10_000
    assert_silent(bridge.output, environment)


@pytest.mark.parametrize("command", ["check", "status", "tail --no-follow"])
async def test_other_commands_say_no_secret(world, tmp_path, command):
    """Neither when all is well nor when nothing is."""
    good = world.environment()
    bad = {
        **good,
        "SUPABASE_URL": "http://127.0.0.1:9",
        "TELEGRAM_API_URL": "http://127.0.0.1:9",
    }
    for environment in (good, bad):
        process = await Process.start(*command.split(), cwd=tmp_path, env=environment)
        await process.ended()

        assert_silent(process.output, environment)


async def test_a_crash_of_a_command_says_no_secret(world, tmp_path):
    """Python's own traceback would say what the exception says."""
    environment = world.environment()
    crash = (
        "import sys; from realtime_bridge.commands import tail\n"
        "async def run(settings, *_, **__): raise RuntimeError(str(settings.secrets)[:70])\n"
        "tail.run_tail = run\n"
        "sys.argv[1:] = ['tail']\n"
        "from realtime_bridge.cli import main; main()"
    )
    process = await Process.start(cwd=tmp_path, env=environment, code=crash)

    assert await process.ended() == 1
    assert "RuntimeError" in process.output
    assert "[secret]" in process.output
    assert_silent(process.output, environment)


async def test_a_crash_says_no_secret(world, tmp_path):
    """What is raised out of run() is told by the bridge's own log."""
    environment = world.environment(LOG_LEVEL="DEBUG")
    crash = (
        "import sys; from realtime_bridge import process as service\n"
        "async def run(self): raise RuntimeError(str(self.settings.secrets))\n"
        "service.Bridge.run = run\n"
        "sys.argv[1:] = ['run']\n"
        "from realtime_bridge.cli import main; main()"
    )
    process = await Process.start(cwd=tmp_path, env=environment, code=crash)

    async def ended():
        return process.process.returncode is not None

    await until(ended)
    assert await process.ended() == 1
    assert "RuntimeError" in process.output
    assert_silent(process.output, environment)
