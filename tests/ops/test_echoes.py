"""A server that says what it was sent, cut anywhere: no key comes out at any end of the bridge."""

import asyncio
import io
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import cycle
from random import Random
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime_bridge.bridge import Bridge
from realtime_bridge.commands.check.command import run_check
from realtime_bridge.commands.retry import Filters, run_retry
from realtime_bridge.commands.status import run_status
from realtime_bridge.commands.tail import run_tail
from realtime_bridge.credentials import tokens
from realtime_bridge.observe import logs
from realtime_bridge.settings import parse
from tests.integration.kit import until

KEY = "sb_secret_Zq3vX8kLm2PwRtYu5sBn9c_DfGhJ1oQ"
TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
SECRETS = (KEY, TOKEN, tokens.web_app_key(TOKEN))
PIECE = 8
NOW = datetime.now(UTC).isoformat()


def cuts():
    """Each secret in the forms that servers echo, cut at each place, from both ends."""
    for secret in SECRETS:
        for form in (secret, quote(secret, safe=""), f"Bearer {secret}", json.dumps(secret)):
            for at in range(len(form) + 1):
                yield f"/bot{form[:at]}"
                yield f"{form[at:]}..."


def telling():
    """Every piece of a secret that nobody may read."""
    for secret in SECRETS:
        tell = secret.removeprefix("sb_secret_").rpartition(":")[2]
        yield from (tell[at : at + PIECE] for at in range(len(tell) - PIECE + 1))


TELLING = frozenset(telling())


def assert_silent(*texts):
    for text in texts:
        read = {text[at : at + PIECE] for at in range(len(text) - PIECE + 1)}
        assert not TELLING & read, f"a secret was said: {sorted(TELLING & read)}"


class Echo:
    """Supabase and Telegram at one address, which say in each answer what the next cut is."""

    def __init__(self):
        all_cuts = list(cuts())
        Random(7).shuffle(all_cuts)  # so that each of a command's calls meets every kind
        self.cuts = cycle(all_cuts)
        self.status = cycle([400, 401, 403, 404, 500, 503])
        self.works = set()  # functions that answer as they should, by name
        self.answers = {}
        self.errors = []  # as they were settled

    async def handle(self, request):
        name = request.path.rsplit("/", 1)[-1]
        if name in self.works:
            told = await self.answers[name](request)
            return told if isinstance(told, web.Response) else web.json_response(told)
        status, cut = next(self.status), next(self.cuts)
        if name == "websocket":
            return web.json_response({"error": cut}, status=403)
        shapes = {
            400: {"code": "22023", "message": "x" * (190 - len(cut) % 20) + cut},
            401: {"message": cut},
            403: {"description": cut, "ok": False, "message": cut},
            404: {"code": "PGRST202", "msg": cut, "ok": False, "description": cut},
            500: {"ok": False, "description": cut, "message": cut},
        }
        if name == "sendMessage":
            status = next(one for one in self.status if one in (400, 403))
            return web.json_response({"ok": False, "description": cut}, status=status)
        if status not in shapes:
            return web.Response(status=503, text=f"<html>Host {request.host}: {cut}</html>")
        return web.json_response(shapes[status], status=status)


@asynccontextmanager
async def echoing():
    """An echo, and the settings of a bridge that talks to it."""
    echo = Echo()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo.handle)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        yield (
            echo,
            {
                "SUPABASE_URL": url,
                "SUPABASE_KEY": KEY,
                "BOT_TOKEN": TOKEN,
                "TELEGRAM_API_URL": url,
                "HTTP_PORT": "0",
            },
        )


COMMANDS = {
    "status": lambda given, say: run_status(
        given, [f"{given.supabase_url}/x"], as_json=False, watch=False, echo=say, warn=say
    ),
    "tail": lambda given, say: run_tail(given, 60, follow=False, as_json=False, echo=say, warn=say),
    "retry": lambda given, say: run_retry(
        given, Filters(ids=[1]), 10, confirm=lambda _: True, echo=say, warn=say
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_says_no_key(command):
    """Whatever the server says to it."""
    said = []
    async with echoing() as (_, environment):
        settings = parse(environment)
        for _ in range(700):
            assert await COMMANDS[command](settings, said.append) == 1

    assert len(said) == 700
    assert_silent(*said)
    assert any("[secret]" in text for text in said)


@pytest.mark.parametrize("as_json", [False, True])
async def test_check_says_no_key(tmp_path, as_json):
    """Nor does it in JSON."""
    said = []
    async with echoing() as (_, environment):
        file = tmp_path / ".env"
        file.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        for _ in range(150):
            assert await run_check(file, as_json=as_json, echo=said.append) == 1

    assert_silent(*said)
    assert any("[secret]" in text for text in said)


async def test_rows_that_hold_a_key_are_shown_without_it():
    """Of an older bridge, say."""
    said = []
    row = {
        "id": 1,
        "attempt": 1,
        "event_type": KEY[:20],
        "status": "failed",
        "failure": "rejected",
        "error": f"\x1b[2J/bot{TOKEN}",
        "message_id": None,
        "settled_at": NOW,
        "took_seconds": 1.0,
    }
    async with echoing() as (echo, environment):

        async def rows(_):
            return [row]

        echo.works, echo.answers = {"recent_tma_events"}, {"recent_tma_events": rows}
        for as_json in (False, True):
            await run_tail(
                parse(environment),
                60,
                follow=False,
                as_json=as_json,
                echo=said.append,
                warn=pytest.fail,
            )

    assert len(said) == 2
    assert_silent(*said)
    assert "\x1b" not in "".join(said)


def event(id_):
    return {
        "id": id_,
        "chat_id": id_,
        "telegram_id": id_,
        "event_type": "step_completed",
        "lead_id": None,
        "lead_name": "Ann",
        "payload": "{}",
        "attempt": 1,
        "retries": 0,
        "created_at": NOW,
        "deliver_after": NOW,
        "waited_seconds": 0.0,
    }


def a_working_queue(echo):
    """The database works: it has a row more at every claim, and keeps what is settled."""
    ids = iter(range(1, 10**9))
    recovered = {"returned": 0, "resent": 0, "uncertain": 0, "next_due_seconds": 0}

    async def nothing(_):
        return 0

    async def me(_):
        return {"ok": True, "result": {"id": 123456789, "is_bot": True, "first_name": "x"}}

    async def sweep(_):
        return {"tma_events": recovered, "plan_requests": recovered | {"next_due_seconds": None}}

    async def claim(request):
        rows = [event(next(ids)) for _ in range((await request.json())["p_limit"])]
        return {"rows": rows, "next_seconds": 0, "limits_differ": False}

    async def start(request):
        return [one["id"] for one in (await request.json())["p_claims"]]

    async def settle(request):
        outcomes = (await request.json())["p_outcomes"]
        echo.errors += [one["error"] for one in outcomes]
        return [one["id"] for one in outcomes]

    echo.answers = {
        "tma_event_stats": nothing,
        "count_tma_requests": nothing,
        "register_tma_bot": nothing,
        "purge_tma_events": nothing,
        "release_tma_events": nothing,
        "getMe": me,
        "sweep_tma": sweep,
        "claim_tma_events": claim,
        "start_tma_events": start,
        "settle_tma_events": settle,
    }
    echo.works = set(echo.answers)


async def test_a_bridge_says_no_key(unused_tcp_port):
    """Not in its log, not at /readyz, not in a row's error."""
    log, ready = io.StringIO(), []
    async with echoing() as (echo, environment):
        a_working_queue(echo)
        environment |= {
            "HTTP_PORT": str(unused_tcp_port),
            "TELEGRAM_RATE": "1000",
            "ALLOW_PAID_BROADCAST": "true",
            "LOG_LEVEL": "DEBUG",
        }
        settings = parse(environment)
        logs.configure_logging("DEBUG", "json", redact=settings.redact, stream=log)
        bridge = Bridge(settings)
        await bridge.start()
        try:

            async def many_settled():
                return len(echo.errors) > 900

            await until(many_settled, 60)
            echo.works -= {"claim_tma_events", "sweep_tma", "settle_tma_events"}
            async with aiohttp.ClientSession() as session:
                for _ in range(60):
                    url = f"http://127.0.0.1:{unused_tcp_port}/readyz"
                    async with session.get(url) as response:
                        ready.append(await response.text())
                    await asyncio.sleep(0.1)
        finally:
            echo.works |= {"settle_tma_events"}
            await bridge.stop()

    address = environment["SUPABASE_URL"].removeprefix("http://")
    assert_silent(log.getvalue(), *ready, *echo.errors)
    assert any("[secret]" in error for error in echo.errors)
    assert not any(address in error for error in echo.errors)
    assert any('"ready": false' in text for text in ready)
    assert any("[secret]" in text for text in ready)
