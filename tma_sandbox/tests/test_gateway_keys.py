"""The API keys sb_publishable_ and sb_secret_, and their use from a browser."""

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="session")

NODE = Path(sys.executable).parent / "node"
CLIENT = Path(__file__).parent / "opaque_keys.mjs"
STATS = "/rest/v1/rpc/tma_event_stats"  # the service's
EVENTS = "/rest/v1/tma_events"  # everybody's, by row
BROADCAST = "/realtime/v1/api/broadcast"
MESSAGES = {"messages": [{"topic": "t", "event": "e", "payload": {}}]}


@pytest.fixture
def settings(clean_stack):
    """The settings that a server and a Mini App get."""
    return clean_stack.env()


@pytest.fixture
def secret(settings):
    """The key with all rights."""
    return settings["SUPABASE_SECRET_KEY"]


@pytest.fixture
def publishable(settings):
    """The key that a Mini App can publish."""
    return settings["SUPABASE_PUBLISHABLE_KEY"]


@pytest_asyncio.fixture(loop_scope="session")
async def http(clean_stack):
    """A plain HTTP client."""
    async with aiohttp.ClientSession(clean_stack.url) as session:
        yield session


async def status(http, path, headers) -> int:
    """The status of a request with these headers."""
    async with http.post(path, json={}, headers=headers) as answer:
        return answer.status


async def test_each_key_has_its_role(http, secret, publishable):
    """The gateway exchanges it for a JWT of service_role or anon."""
    assert await status(http, STATS, {"apikey": secret}) == 200
    assert await status(http, STATS, {"apikey": publishable}) == 401
    async with http.get(EVENTS, headers={"apikey": publishable}) as answer:
        assert (answer.status, await answer.json()) == (200, [])


async def test_a_key_that_repeats_itself_as_the_token_is_no_token(http, secret):
    """Older clients send it twice; the gateway exchanges both."""
    assert await status(http, STATS, {"apikey": secret, "Authorization": f"Bearer {secret}"}) == 200


async def test_as_a_token_it_is_refused(http, secret, publishable):
    """It is not a JWT: refused alone, and next to another key."""
    bearer = {"Authorization": f"Bearer {secret}"}

    assert await status(http, STATS, bearer) == 401
    assert await status(http, STATS, bearer | {"apikey": publishable}) == 401
    assert await status(http, BROADCAST, bearer | {"apikey": publishable}) == 401


async def test_a_token_decides_over_the_key(http, secret, settings):
    """The gateway checks the key; the role comes from the JWT."""
    anon = {"Authorization": f"Bearer {settings['SUPABASE_ANON_KEY']}"}

    assert await status(http, STATS, anon | {"apikey": secret}) == 401


@pytest.mark.parametrize("key", ["sb_secret_", "sb_publishable_x_y", "sb_temp_x", "sb_secret_\xe9"])
async def test_a_key_of_another_project_is_refused(http, key):
    """Even if it looks like one of ours."""
    async with http.get(EVENTS, headers={"apikey": key}) as answer:
        assert answer.status == 401
        assert (await answer.json())["message"] == "Invalid API key"


async def test_a_browser_may_not_use_the_secret_key(http, secret, publishable):
    """Like Supabase, it goes by the User-Agent, so a Mini App that ships the key fails here too."""
    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
    async with http.get(EVENTS, headers=browser | {"apikey": secret}) as answer:
        assert answer.status == 401
        assert "secret API key in browser" in (await answer.json())["message"]
    async with http.get(EVENTS, headers=browser | {"apikey": publishable}) as answer:
        assert answer.status == 200


async def test_supabase_js_hears_and_writes_with_them(settings, http, secret, publishable):
    """REST and both kinds of Realtime channels, with the real client."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        CLIENT,
        settings["SUPABASE_URL"],
        publishable,
        secret,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, complaints = await process.communicate()

    assert process.returncode == 0, complaints
    assert json.loads(out) == {"private": "SUBSCRIBED", "heard": {"n": 1}, "stats": 200, "own": []}


async def test_a_page_of_any_origin_may_broadcast(http, publishable):
    """The preflight needs no key, and the response has a CORS header."""
    origin = {"Origin": "https://app.example"}
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,authorization,content-type",
    }
    async with http.options(BROADCAST, headers=origin | asked) as preflight:
        allowed = preflight.headers
    async with http.post(
        BROADCAST, json=MESSAGES, headers=origin | {"apikey": publishable}
    ) as answer:
        sent = answer.status, answer.headers["Access-Control-Allow-Origin"]
    async with http.post(BROADCAST, json=MESSAGES, headers=origin) as answer:
        keyless = answer.status, answer.headers["Access-Control-Allow-Origin"]

    assert preflight.status == 200
    assert allowed["Access-Control-Allow-Origin"] == "*"
    assert "POST" in allowed["Access-Control-Allow-Methods"]
    assert allowed["Access-Control-Allow-Headers"] == "apikey,authorization,content-type"
    assert sent == (202, "*")
    assert keyless == (401, "*")
