"""check as a Mini App, at a server that answers nothing which anybody promised."""

from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime_bridge.commands.check import Fixes, Status, access, mini_app
from realtime_bridge.commands.check.bounded import LIMIT
from realtime_bridge.commands.check.mini_app import ProbeUsers, pay_visit
from realtime_bridge.commands.check.mini_app_finding import mini_app_finding
from realtime_bridge.database import Rpc
from realtime_bridge.settings import parse
from tests.ops.test_echoes import KEY, TOKEN, assert_silent
from tests.ops.test_nonsense import NONSENSE

USERS = ProbeUsers(9007199254740990, 9007199254740991)
REPORT = {
    "tables": {"tma_events": {"row_security": True}},
    "bots": [int(TOKEN.partition(":")[0])],
    "open_policies": [],
    "allow_unverified": False,
}


@asynccontextmanager
async def answering(handle):
    """Settings for a server that answers everything by this handler."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        yield parse(
            {
                "SUPABASE_URL": str(server.make_url("")).rstrip("/"),
                "SUPABASE_KEY": KEY,
                "SUPABASE_ANON_KEY": "sb_publishable_abcdefghijklmnopqrstuv",
                "BOT_TOKEN": TOKEN,
            }
        )


async def finding_at(handle):
    """What a visit to this server comes to."""
    async with answering(handle) as settings, Rpc.of(settings) as rpc:
        visit = await pay_visit(settings, rpc, USERS, 1_800_000_000, ["plan_requests"])
    return mini_app_finding(visit, REPORT, REPORT["bots"][0], Fixes({}))


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("body", NONSENSE, ids=lambda body: body[:20])
async def test_nonsense_is_a_finding(body, status):
    """Of whatever shape; and never a good one."""

    async def handle(_):
        return web.Response(text=body, status=status, content_type="application/json")

    finding = await finding_at(handle)

    assert finding.status in {Status.FAILED, Status.SKIPPED}
    assert "\n" not in finding.detail
    assert len(finding.detail) < 500


async def test_an_answer_without_end_is_not_read_to_the_end():
    """It may be longer than this machine has memory."""
    sent = 0

    async def handle(request):
        nonlocal sent
        if request.path.endswith("delete_tma_user_probe"):  # Rpc has a limit of its own
            return web.json_response(None)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while sent < 400 * LIMIT:
                await response.write(b" " * LIMIT)
                sent += LIMIT
        except ConnectionError:
            pass
        return response

    finding = await finding_at(handle)

    assert finding.status is Status.SKIPPED
    assert "is longer than" in finding.detail
    assert sent < 400 * LIMIT


async def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    """For longer than the whole visit may take."""
    monkeypatch.setattr(mini_app, "SECONDS", 0.0)

    async def handle(_):
        return web.json_response([])

    finding = await finding_at(handle)

    assert finding.status is Status.SKIPPED
    assert "took longer than" in finding.detail


async def test_what_a_server_echoes_says_no_secret():
    """Neither a refusal nor what is no answer."""
    told = []
    for status in (400, 401, 404, 500):

        async def handle(_, status=status):
            body = {"message": f"not {KEY} nor\n{TOKEN}", "code": "P0001"}
            return web.json_response(body, status=status)

        told.append((await finding_at(handle)).detail)

    assert_silent(*told)
    assert all("\n" not in text for text in told)


@pytest.mark.parametrize(
    "named",
    [None, [], [5, 6], [2**53, 2**53], [2**53], ["9007199254740990", 2**53], {}, [2**53, True], 7],
)
def test_users_that_may_exist_are_not_taken(named):
    """A database of another version, or somebody else's function."""
    assert ProbeUsers.of({"probe_users": named}) is None


def test_fixes_quote_names():
    """A policy and a table may be called anything."""
    report = {
        "tables": {"Odd's": {"row_security": False}},
        "open_policies": [{"policy": 'a "b"; drop', "table": "tma_events"}],
        "allow_unverified": False,
    }

    assert access.closing(report, ["Odd's"], Fixes({})).text.splitlines() == [
        'alter table public."Odd\'s" enable row level security;',
        'drop policy "a ""b""; drop" on public.tma_events;',
    ]
    assert access.made_request_table("Odd's").endswith("('public.\"Odd''s\"');")
