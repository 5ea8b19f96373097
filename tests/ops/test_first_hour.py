"""The first hour: nothing is silent, and what is wrong is told with its fix."""

import asyncio
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime_bridge.commands.advice import advice
from realtime_bridge.commands.check import Fixes
from realtime_bridge.commands.retry import Filters, run_retry
from realtime_bridge.commands.status import run_status
from realtime_bridge.commands.tail import run_tail
from realtime_bridge.database import Refused
from realtime_bridge.settings import parse
from tests.integration.kit import until
from tests.ops.test_echoes import KEY, TOKEN

EXAMPLES = Path(__file__).parents[2] / "examples"
PYTHON = sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("draft_requests/*.py")])
NOWHERE = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": KEY, "BOT_TOKEN": TOKEN}
COMMANDS = {
    "status": lambda given, echo, warn: run_status(
        given, [], as_json=False, watch=False, echo=echo, warn=warn
    ),
    "tail": lambda given, echo, warn: run_tail(
        given, 60, follow=False, as_json=False, echo=echo, warn=warn
    ),
    "retry": lambda given, echo, warn: run_retry(
        given, Filters(ids=[1]), 10, confirm=pytest.fail, echo=echo, warn=warn
    ),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_a_database_that_is_away_is_told_with_the_fix(command):
    """On the error stream, so that what reads the output gets none of it."""
    warned = []

    code = await command(parse(NOWHERE), pytest.fail, warned.append)

    assert code == 1
    (text,) = warned
    assert text.startswith("No answer from http://127.0.0.1:9: ")
    assert text.endswith("\nTo fix it: npx supabase start   # or: realtime-bridge local")


@asynccontextmanager
async def a_database(answer):
    """A server that answers each call with what the function makes of it."""
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        yield parse({**NOWHERE, "SUPABASE_URL": url, "TELEGRAM_API_URL": url})


async def test_tail_says_that_the_database_is_away_and_that_it_is_back(monkeypatch):
    """Once each, however often it asks meanwhile."""
    monkeypatch.setattr("realtime_bridge.commands.tail.PAUSE_SECONDS", 0)
    calls, warned = [], []
    away = {"now": True}

    async def answer(_):
        calls.append(away["now"])
        return web.Response(status=503) if away["now"] else web.json_response([])

    async def heard(condition):
        await until(lambda: asyncio.sleep(0, condition()))

    async with a_database(answer) as settings:
        tailing = asyncio.create_task(
            run_tail(settings, 60, follow=True, as_json=True, echo=pytest.fail, warn=warned.append)
        )
        await heard(lambda: calls.count(True) >= 3)
        away["now"] = False
        await heard(lambda: calls.count(False) >= 3)
        tailing.cancel()
        with suppress(asyncio.CancelledError):
            await tailing

    gone, back = warned
    assert "HTTP 503 from recent_tma_events" in gone
    assert "To fix it: realtime-bridge local --port " in gone
    assert gone.endswith("Waiting for it; rows that end meanwhile are shown then.")
    assert back.startswith("Supabase answers again, after ")


def test_a_refusal_without_a_hint_says_where_to_look():
    """The others say themselves what mends them."""
    settings = parse(NOWHERE)

    assert advice(Refused("no", "Do this"), settings) == "no. Do this"
    assert advice(Refused("no", ""), settings).startswith("no. Run `realtime-bridge check`")


LOCAL = {"SUPABASE_URL": "http://127.0.0.1:54399", "TELEGRAM_API_URL": "http://127.0.0.1:54399"}


@pytest.mark.parametrize(
    ("values", "env_file", "fix"),
    [
        (LOCAL, None, "realtime-bridge local --port 54399"),
        (LOCAL, ".env.local", "realtime-bridge local --port 54399 --env-file .env.local"),
        (LOCAL, "a b", "realtime-bridge local --port 54399 --env-file 'a b'"),
        (
            {"SUPABASE_URL": "http://localhost:54321"},
            None,
            "npx supabase start   # or: realtime-bridge local",
        ),
        ({"SUPABASE_URL": "http://[::1]:1"}, None, "npx supabase start"),
        ({"SUPABASE_URL": "https://db.example.com"}, None, "start Supabase on db.example.com"),
        ({"SUPABASE_URL": "https://abcd.supabase.co"}, None, "restores a paused project"),
        ({"SUPABASE_URL": "http://["}, None, "SUPABASE_URL"),
    ],
)
def test_what_starts_supabase_again_is_what_ran_it(values, env_file, fix):
    """The stack of `local` plays Telegram as well, at the same address."""
    assert fix in Fixes(values, env_file and Path(env_file)).supabase().text


def test_an_env_file_that_is_not_there_is_made_by_what_makes_it(tmp_path, monkeypatch):
    """The local stack's goes when it ends; for others a person knows."""
    monkeypatch.chdir(tmp_path)
    stacks = tmp_path / ".env.local"

    assert Fixes({}, Path(".env.local")).settings("there").text == "realtime-bridge local"
    assert Fixes({}, stacks).settings("there").text == f"realtime-bridge local --env-file {stacks}"
    assert "--env-file" in Fixes({}, tmp_path / "x").settings("there").text
    assert Fixes({}).settings("LEASE_SECONDS").text.startswith("change it in .env")


STARTING = """
import os
import sys

class Telling:
    def find_spec(self, name, *_):
        if name == "aiogram":
            print("imports aiogram", file=sys.stderr)
            os._exit(7)

sys.meta_path.insert(0, Telling())
sys.argv[1:] = ["run"]
from realtime_bridge.cli import main
main()
"""


async def test_run_says_that_it_starts_before_it_imports(start):
    """Importing aiogram takes seconds, on a small machine many."""
    process = await start(env=NOWHERE, code=STARTING)

    await process.ended(120)

    before, _, _ = process.output.partition("imports aiogram")
    assert "starting" in before
    assert "version=" in before


@pytest.mark.parametrize("example", PYTHON, ids=lambda path: path.name)
async def test_an_example_without_settings(start, example):
    """Says which ones it needs, if it needs any."""
    process = await start(
        code=f"import runpy; runpy.run_path({str(example)!r}, run_name='__main__')"
    )
    code = await process.ended(120)

    assert "Traceback" not in process.output
    assert (code == 0) or "SUPABASE_URL is not set" in process.output


EACH = """
import sys
from realtime_bridge.cli import main

def each(*commands):
    for words in commands:
        sys.argv[1:] = words.split()
        try:
            main()
        except SystemExit as ended:
            print("ended", ended.code, flush=True)
"""
LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "no_SUCH.locale", "HOME": "/dev/null"},
    {"PYTHONIOENCODING": "latin-1"},
]


@pytest.mark.parametrize("locale", LOCALES, ids=str)
async def test_any_locale_can_show_what_there_is(start, world, locale):
    """Bars that it has no characters for, and rows that users wrote."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type, status, failure, error, settled_at)"
        " values (1, 'кава 🚀', 'failed', 'blocked', 'ні', now())"
    )
    everything = f"{EACH}\neach('status', 'tail --no-follow', 'tail --no-follow --json')"

    process = await start(env={**world.environment(), **locale}, code=everything)
    await process.ended(120)

    assert "Traceback" not in process.output
    assert process.output.count("ended 0") == 3, process.output


ENV_FILES = {
    "utf-16": "SUPABASE_URL=https://a.supabase.co".encode("utf-16"),
    "nul": b"\0" * 10,
    "latin-1": b"BOT_TOKEN=\xe9",
    "surrogates": "BOT_TOKEN=\udcff".encode("utf-8", "surrogatepass"),
    "empty": b"",
}


@pytest.mark.parametrize("content", ENV_FILES.values(), ids=ENV_FILES)
async def test_any_env_file_ends_in_words(start, tmp_path, content):
    """And in 78, which is for settings."""
    (tmp_path / ".env").write_bytes(content)
    everything = f"{EACH}\neach('run', 'check', 'status', 'token')"

    process = await start(code=everything, env={"PYTHONUTF8": "0", "LC_ALL": "C"})
    await process.ended(120)

    assert "Traceback" not in process.output
    assert process.output.count("ended 78") == 4, process.output
