"""A server that answers, but nothing that anybody promised: commands say so and end."""

import asyncio
import io
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime_bridge.bridge import Bridge
from realtime_bridge.commands.check.command import run_check
from realtime_bridge.observe import logs
from realtime_bridge.settings import parse
from tests.integration.kit import until
from tests.ops.test_echoes import COMMANDS, KEY, TOKEN, a_working_queue, echoing

DEEP = "[" * 20_000 + "]" * 20_000
NONSENSE = [
    "",
    "null",
    "7",
    "true",
    '"text"',
    "[7]",
    "[[]]",
    "[null]",
    '{"pending": null}',
    '[{"id": "x", "settled_at": 7}]',
    '{"tables": 7, "bots": {}, "now": []}',
    '{"uncertain": [1]}',
    "9" * 5_000,
    '{"a": 1e999}',
    "NaN",
    DEEP,
    "<html>",
]


@asynccontextmanager
async def answering(body):
    """A server that answers everything with this, and settings for it."""
    said = {"body": body}

    async def handle(_):
        return web.Response(text=said["body"], content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        yield {
            "SUPABASE_URL": url,
            "SUPABASE_KEY": KEY,
            "BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": url,
            "HTTP_PORT": "0",
        }


@pytest.mark.parametrize("body", NONSENSE, ids=lambda body: body[:20])
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_says_that_it_cannot_use_the_answer(command, body):
    """Or takes null for nothing; it does not crash."""
    said = []
    async with answering(body) as environment:
        code = await COMMANDS[command](parse(environment), said.append)

    assert len(said) == 1
    assert code == 1 or said == ["No failed row matches."], said


@pytest.mark.parametrize("body", NONSENSE, ids=lambda body: body[:20])
async def test_check_fails_for_nonsense(tmp_path, body, monkeypatch):
    """With a finding, to the end."""
    monkeypatch.setattr("realtime_bridge.commands.check.round_trip.JOIN_SECONDS", 0.1)
    said = []
    async with answering(body) as environment:
        file = tmp_path / ".env"
        file.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        code = await run_check(file, as_json=False, echo=said.append)

    assert code == 1
    assert any("migrations" in text or "supabase" in text for text in said)


@pytest.mark.parametrize("body", NONSENSE[1:], ids=lambda body: body[:20])
async def test_a_bridge_lives_through_nonsense_and_works_afterwards(body):
    """Each function of the queue in turn answers what nobody can use."""
    log = io.StringIO()
    async with echoing() as (echo, environment):
        a_working_queue(echo)
        echo.works.add("sendMessage")

        async def sent(_):
            return {"ok": True, "result": {"message_id": 1}}

        settled = []

        async def keep(request):
            outcomes = (await request.json())["p_outcomes"]
            settled.extend(outcomes)
            return [one["id"] for one in outcomes]

        async def nonsense(_):
            return web.Response(text=body, content_type="application/json")

        echo.answers |= {"sendMessage": sent, "settle_tma_events": keep}
        good = dict(echo.answers)
        settings = parse(environment | {"TELEGRAM_RATE": "30"})
        logs.configure_logging("INFO", "json", redact=settings.redact, stream=log)
        bridge = Bridge(settings)
        await bridge.start()
        try:

            async def works():
                return bool(settled)

            await until(works, 20)
            for name in ("claim_tma_events", "start_tma_events", "sweep_tma", "sendMessage"):
                echo.answers[name] = nonsense
            await asyncio.sleep(0.5)
            assert not bridge._running.done()
            echo.answers |= good
            settled.clear()
            await until(works, 20)
        finally:
            await bridge.stop()

    assert "lane_bug" not in log.getvalue()
    assert "handler_raised" not in log.getvalue()
    assert "ended by itself" not in log.getvalue()
