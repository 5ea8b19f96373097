"""Supabase's paths as the real clients use them, and what the gateway refuses."""

import asyncio
import hmac
import json
import sys
from io import BytesIO
from pathlib import Path

import aiohttp
import jwt
import psycopg
import pytest
import pytest_asyncio
from postgrest import ReturnMethod
from supabase import AsyncClientOptions, acreate_client

pytestmark = pytest.mark.asyncio(loop_scope="session")

NODE = Path(sys.executable).parent / "node"
CLIENT = Path(__file__).parent / "gateway_client.mjs"
USER = 700_100_200


@pytest.fixture
def settings(clean_stack):
    """The settings that a server and a Mini App get."""
    return clean_stack.env()


@pytest.fixture
def service(settings):
    """The headers of a request with the service key."""
    return {"apikey": settings["SUPABASE_KEY"]}


@pytest_asyncio.fixture(loop_scope="session")
async def http(clean_stack):
    """A plain HTTP client."""
    async with aiohttp.ClientSession(clean_stack.url) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def notes(stack):
    """A table that PostgREST knows; returns its path."""
    path = "/rest/v1/notes"
    headers = {"apikey": stack.env()["SUPABASE_KEY"]}
    async with (
        aiohttp.ClientSession(stack.url) as session,
        await psycopg.AsyncConnection.connect(stack.postgres.dsn(), autocommit=True) as connection,
    ):
        await connection.execute("create table public.notes (id int primary key, body text)")
        async with asyncio.timeout(10):
            # Only writing values needs the table in PostgREST's schema cache.
            while (await session.post(path, json={"id": 0}, headers=headers)).status != 201:
                await asyncio.sleep(0.02)
        await connection.execute("truncate public.notes")
    yield path
    async with await psycopg.AsyncConnection.connect(stack.postgres.dsn()) as connection:
        await connection.execute("drop table public.notes")


@pytest_asyncio.fixture(loop_scope="session")
async def init_data(http, settings, service) -> str:
    """A user's signed initData, from a bot that is registered in the database."""
    token = settings["BOT_TOKEN"]
    key = hmac.digest(b"WebAppData", token.encode(), "sha256").hex()
    known = {"p_bot_id": int(token.partition(":")[0]), "p_key": key}
    async with http.post("/rest/v1/rpc/register_tma_bot", json=known, headers=service) as answer:
        assert answer.ok, await answer.text()
    async with http.post("/_sign", json={"user": {"id": USER, "first_name": "T"}}) as answer:
        return (await answer.json())["init_data"]


async def test_supabase_py_writes_and_reads_as_a_mini_app(settings, init_data):
    """The anon key and Telegram's signature are enough, for the user's own rows."""
    client = await acreate_client(
        settings["SUPABASE_URL"],
        settings["SUPABASE_ANON_KEY"],
        AsyncClientOptions(headers={"x-telegram-init-data": init_data}),
    )

    table = client.table("tma_events")
    try:
        await table.insert(
            {"event_type": "status_changed"}, returning=ReturnMethod.minimal
        ).execute()
        rows = await table.select("telegram_id, status").execute()
    finally:
        await client.postgrest.aclose()

    assert rows.data == [{"telegram_id": USER, "status": "pending"}]


@pytest_asyncio.fixture(loop_scope="session")
async def listened_to(clean_stack):
    """A project with Realtime enabled for tma_events."""
    dsn = clean_stack.postgres.dsn()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("alter publication supabase_realtime add table tma_events")
        yield
        await connection.execute("alter publication supabase_realtime drop table tma_events")


async def test_supabase_js_writes_reads_and_hears(settings, init_data, listened_to):
    """With the real client: REST, identity and Realtime at one URL."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        CLIENT,
        settings["SUPABASE_URL"],
        settings["SUPABASE_ANON_KEY"],
        settings["SUPABASE_KEY"],
        init_data,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, complaints = await process.communicate()

    assert process.returncode == 0, complaints
    payload = {"lead_name": 'Ann "A" & <B>'}
    assert json.loads(out) == {
        "system": "ok",
        "insert": 201,
        "own": [{"telegram_id": USER, "payload": payload}],
        "count": 1,
        "without": [],
        "pushed": payload,
    }


async def test_a_request_without_a_key_is_refused(http):
    """With the text of Supabase's gateway, readable by a web page."""
    async with http.get("/rest/v1/tma_events") as answer:
        assert answer.status == 401
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert (await answer.json())["message"] == "No API key found in request"


@pytest.mark.parametrize("key", ["nonsense", jwt.encode({"role": "service_role"}, "x" * 40)])
async def test_a_key_of_another_project_is_refused(http, key):
    """A key that this stack did not sign is refused."""
    async with http.get("/rest/v1/tma_events", headers={"apikey": key}) as answer:
        assert answer.status == 401
        assert (await answer.json())["message"] == "Invalid API key"


async def test_a_jwt_of_another_role_is_no_key(http, settings):
    """As with Supabase: it must be the bearer token, next to an API key."""
    own = jwt.encode({"role": "tma_bridge"}, settings["SUPABASE_JWT_SECRET"])
    rpc = "/rest/v1/rpc/tma_event_stats"
    behind = {"apikey": settings["SUPABASE_ANON_KEY"], "Authorization": f"Bearer {own}"}

    async with http.post(rpc, json={}, headers={"apikey": own}) as alone:
        assert alone.status == 401
    async with http.get(
        "/realtime/v1/websocket", params={"apikey": own, "vsn": "1.0.0"}
    ) as websocket:
        assert websocket.status == 401
    async with http.post(rpc, json={}, headers=behind) as answer:
        assert answer.status == 200


async def test_the_key_may_come_as_a_query_parameter(http, notes, service):
    """As with Supabase; PostgREST does not get it as a filter."""
    async with http.get(f"{notes}?apikey={service['apikey']}&select=id") as answer:
        assert (answer.status, await answer.json()) == (200, [])


async def test_a_bearer_token_decides_over_the_key(http, notes, service, settings):
    """The gateway checks the key; the role comes from the token."""
    anonymous = {"Authorization": f"Bearer {settings['SUPABASE_ANON_KEY']}"}
    claim = {"p_limit": 1, "p_key": "00000000-0000-4000-8000-000000000000"}
    async with http.post(
        "/rest/v1/rpc/claim_tma_events", json=claim, headers=service | anonymous
    ) as answer:
        refused = answer.status
    async with http.post("/rest/v1/rpc/claim_tma_events", json=claim, headers=service) as answer:
        allowed = answer.status

    assert (refused, allowed) == (401, 200)


async def test_odd_characters_pass_unchanged(http, notes, service):
    """Paths and filters reach PostgREST byte for byte."""
    body = 'a&b+c=d "e" %25 Ж'
    async with http.post(notes, json={"id": 1, "body": body}, headers=service) as answer:
        assert answer.status == 201

    filters = "body=eq.a%26b%2Bc%3Dd%20%22e%22%20%2525%20%D0%96"
    async with http.get(f"{notes}?{filters}", headers=service) as answer:
        assert await answer.json() == [{"id": 1, "body": body}]


async def test_large_bodies_pass_both_ways(http, notes, service):
    """Three megabytes in, three megabytes out."""
    body = "Ж" * 1_500_000
    stream = BytesIO(json.dumps({"id": 1, "body": body}, ensure_ascii=False).encode())
    headers = service | {"Content-Type": "application/json"}
    async with http.post(notes, data=stream, headers=headers) as answer:
        assert answer.status == 201

    async with http.get(notes, headers=service) as answer:
        assert await answer.json() == [{"id": 1, "body": body}]


async def test_answers_without_a_body_pass(http, notes, service):
    """204 and HEAD keep their headers, and the connection stays usable."""
    async with http.delete(f"{notes}?id=eq.1", headers=service) as answer:
        assert answer.status == 204
    exact = service | {"Prefer": "count=exact"}
    async with http.head(notes, headers=exact) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (200, "*/0")
    async with http.get(notes, headers=service) as answer:
        assert await answer.json() == []


async def test_a_browser_may_send_telegrams_header(http):
    """The preflight of a Mini App's insert is answered without a key."""
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,authorization,x-telegram-init-data",
    }
    async with http.options("/rest/v1/tma_events", headers=asked) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] in {"*", "https://app.example"}
        assert "x-telegram-init-data" in answer.headers["Access-Control-Allow-Headers"].lower()


async def test_a_giant_header_is_refused_and_forgotten(http, service):
    """100 kB of headers is the client's error, and other requests are unaffected."""
    giant = service | {"x-telegram-init-data": "x" * 100_000}
    async with http.get("/rest/v1/tma_events", headers=giant) as answer:
        assert answer.status in {400, 431}
    async with http.get("/rest/v1/tma_events", headers=service) as answer:
        assert answer.status == 200


async def test_there_is_no_auth(http):
    """A path of Auth answers in JSON that there is none."""
    async with http.post("/auth/v1/signup", json={}) as answer:
        assert (answer.status, answer.content_type) == (404, "application/json")
    async with http.get("/auth/v1/health") as answer:
        assert answer.status == 200


async def test_postgrest_away_is_a_bad_gateway_until_it_is_back(clean_stack, http, service):
    """A test can stop PostgREST and start it again at the same address."""
    await clean_stack.postgrest.stop()
    async with http.get("/rest/v1/tma_events", headers=service) as answer:
        away = answer.status, answer.content_type
    await clean_stack.postgrest.start()
    async with http.get("/rest/v1/tma_events", headers=service) as answer:
        back = answer.status

    assert (away, back) == ((502, "application/json"), 200)


async def test_everything_recovers_from_a_restart_of_postgres(clean_stack, http, service):
    """PostgREST and Realtime recover when Postgres crashes."""
    await asyncio.to_thread(clean_stack.postgres.restart, "immediate")

    async with asyncio.timeout(20):
        while (await http.get("/rest/v1/tma_events", headers=service)).status != 200:
            await asyncio.sleep(0.05)
