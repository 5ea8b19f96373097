"""Who may write, seen from outside: the anon key, real HTTP, real supabase-js."""

import asyncio
import json
import random
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.sql.signing import BOT, USER, init_data, web_app_key
from tests.sql.test_identity import mutations

HERE = Path(__file__).parent
NODE_MODULES = HERE.parents[1] / "node_modules"
OTHERS = 4242
AT_ONCE = 8


@pytest_asyncio.fixture(loop_scope="session")
async def anon(world):
    """A browser's HTTP: the anon key and nothing else. The bot is registered, others have rows."""
    environment = world.stack.env()
    service = {"apikey": environment["SUPABASE_KEY"]}
    known = {"p_bot_id": BOT, "p_key": web_app_key()}
    async with (
        aiohttp.ClientSession(environment["SUPABASE_URL"]) as http,
        http.post("/rest/v1/rpc/register_tma_bot", json=known, headers=service) as answer,
    ):
        assert answer.ok, await answer.text()
    await world.insert(OTHERS, payload={"secret": "of somebody else"})
    async with aiohttp.ClientSession(
        environment["SUPABASE_URL"],
        headers={"apikey": environment["SUPABASE_ANON_KEY"]},
        connector=aiohttp.TCPConnector(limit=AT_ONCE),
    ) as http:
        yield http


async def write(http, header, **row):
    """Insert one row; return the status and the answer."""
    headers = {"x-telegram-init-data": header} if header is not None else {}
    row = {"event_type": "x", **row}
    async with http.post("/rest/v1/tma_events", json=row, headers=headers) as answer:
        return answer.status, await answer.text()


async def read(http, header):
    """Select everything; return the status and the answer."""
    headers = {"x-telegram-init-data": header} if header is not None else {}
    async with http.get("/rest/v1/tma_events?select=telegram_id", headers=headers) as answer:
        return answer.status, await answer.text()


async def test_a_proven_user_writes_and_reads_own_rows_only(world, anon):
    """201, the name filled in by the database; of others' rows nothing is seen."""
    header = init_data()

    status, _ = await write(anon, header)
    _, seen = await read(anon, header)

    assert status == 201
    assert json.loads(seen) == [{"telegram_id": USER["id"]}]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        init_data(age=48 * 3600),
        init_data(age=-24 * 3600),
        init_data(token=f"{BOT}:another-token"),
        init_data(user="not json"),
        init_data(user={"id": 0}),
        init_data(user={"id": -5}),
        init_data(user={"id": 2**63}),
        init_data() + "&user=%7B%22id%22%3A4242%7D",
        "user=%FF%FE&hash=" + "0" * 64,
        "x" * 20_000,
    ],
)
async def test_nobody_is_refused_with_words_and_sees_nothing(anon, header):
    """Missing, old, forged, nonsense: 401 or 403 and never 500; a select is empty."""
    status, answer = await write(anon, header)
    reading, seen = await read(anon, header)

    assert status in {400, 401, 403, 431}, answer
    assert reading in {200, 400, 401, 403, 431}
    assert "of somebody else" not in answer + seen
    if reading == 200:
        assert json.loads(seen) == []
    if status == 401:
        assert "x-telegram-init-data" in answer


async def test_a_header_of_100_kb_is_refused_before_it_reaches_anybody(anon):
    """The gateway's limit: 400 or 431, never 500."""
    status, _ = await write(anon, "x" * 100_000)

    assert status in {400, 431}


async def test_no_mutation_of_a_valid_header_gets_through(world, anon):
    """A thousand changed headers over HTTP: each insert is refused, each select is empty."""
    # HTTP carries no line breaks, and takes white space around a value away.
    corpus = {
        one for one in mutations(random.Random(11)) if one.isprintable() and one == one.strip()
    }
    gate = asyncio.Semaphore(AT_ONCE)

    async def attempt(header):
        async with gate:
            return await write(anon, header), await read(anon, header)

    results = await asyncio.gather(*map(attempt, sorted(corpus)))

    assert len(corpus) >= 500
    assert {status for (status, _), _ in results} <= {400, 401, 403}
    assert {seen for _, (status, seen) in results if status == 200} == {"[]"}
    rows = await world.sql("select distinct telegram_id from tma_events")
    assert [row["telegram_id"] for row in rows] == [OTHERS]


@pytest.mark.parametrize(
    "row",
    [
        {"telegram_id": OTHERS},
        {"status": "delivered"},
        {"id": 1},
        {"attempt": 9},
        {"message_id": 9},
        {"event_type": "x" * 5000},
        {"payload": {"x": "y" * 100_000}},
        {"deliver_after": "2999-01-01"},
        {"deliver_after": "infinity"},
    ],
)
async def test_a_proven_user_cannot_write_more_than_events_of_their_own(anon, row):
    """Other users' chats, states, and what would fill the database."""
    status, answer = await write(anon, init_data(), **row)

    assert status in {400, 401, 403}, answer
    assert json.loads(answer)["message"]


async def test_a_user_cannot_fill_the_queue(world, anon):
    """There is a number of pending rows at which a user must wait, and the answer says so."""
    header = init_data()
    rows = [{"event_type": "x"} for _ in range(1000)]

    async with anon.post(
        "/rest/v1/tma_events", json=rows, headers={"x-telegram-init-data": header}
    ) as answer:
        text = await answer.text()

    assert answer.status in {400, 403, 429}
    assert "wait to be sent" in text
    assert await world.sql("select from tma_events where telegram_id <> %s", OTHERS) == []


FUNCTIONS = {
    "claim_tma_events": {"p_limit": 1, "p_key": "00000000-0000-4000-8000-000000000000"},
    "start_tma_events": {"p_claims": []},
    "settle_tma_events": {"p_outcomes": []},
    "release_tma_events": {"p_claims": []},
    "recover_tma_events": {"p_lease": "0 s", "p_resend_uncertain": False},
    "retry_tma_events": {"p_failure": "blocked"},
    "purge_tma_events": {"p_keep": "0 s", "p_limit": 1},
    "tma_event_stats": {},
    "tma_bridge_check": {},
    "register_tma_bot": {"p_bot_id": 1, "p_key": "0" * 64},
    "claim_tma_requests": {"p_table": "plan_requests", "p_limit": 1},
    "settle_tma_requests": {"p_table": "plan_requests", "p_outcomes": []},
    "count_tma_requests": {"p_table": "plan_requests"},
    "report_tma_progress": {
        "p_table": "plan_requests",
        "p_id": 1,
        "p_attempt": 1,
        "p_event": {"event_type": "plan_progress"},
    },
}


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_the_anon_key_calls_no_function_of_the_bridge(anon, function):
    """Not even with a user's signature: the functions are the bridge's alone."""
    async with anon.post(
        f"/rest/v1/rpc/{function}",
        json=FUNCTIONS[function],
        headers={"x-telegram-init-data": init_data()},
    ) as answer:
        assert answer.status in {401, 403, 404}, await answer.text()


SCRIPT = """
import { createClient } from '@supabase/supabase-js'
const [url, key, header, others] = process.argv.slice(2)
const client = createClient(url, key, { global: { headers: { 'x-telegram-init-data': header } } })
const events = () => client.from('tma_events')
const stranger = createClient(url, key).from('tma_events')
const results = {
  own: await events().insert({ event_type: 'mine', lead_id: 7, payload: { a: 1 } }),
  read: await events().select('event_type, lead_id'),
  forged: await events().insert({ event_type: 'x', telegram_id: Number(others) }),
  update: await events().update({ event_type: 'y' }).gte('id', 0).select('id'),
  remove: await events().delete().gte('id', 0).select('id'),
  stranger: await stranger.insert({ event_type: 'x' }),
  keys: await client.schema('bridge').from('bot_keys').select(),
}
console.log(JSON.stringify(results))
"""


async def test_supabase_js_does_what_a_mini_app_needs_and_no_more(world, anon, tmp_path):
    """Own insert and select; everything else answers 401, 403 or 4xx, and changes nothing."""
    environment = world.stack.env()
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    script = tmp_path / "mini_app.mjs"
    script.write_text(SCRIPT)

    process = await asyncio.create_subprocess_exec(
        "node",
        str(script),
        environment["SUPABASE_URL"],
        environment["SUPABASE_ANON_KEY"],
        init_data(),
        str(OTHERS),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    results = json.loads(output)
    assert results["own"]["status"] == 201
    assert results["read"]["data"] == [{"event_type": "mine", "lead_id": 7}]
    for verb in ("forged", "update", "remove", "stranger"):
        assert results[verb]["status"] in {400, 401, 403}, results[verb]
    assert results["keys"]["status"] in {401, 403, 404, 406}
    rows = await world.sql("select telegram_id, event_type from tma_events order by id")
    assert [tuple(row.values()) for row in rows] == [
        (OTHERS, "status_changed"),
        (USER["id"], "mine"),
    ]
