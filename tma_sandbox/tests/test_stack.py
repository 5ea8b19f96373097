"""The whole stack: it starts and stops, and leaves nothing behind if a part fails."""

import asyncio
import os
import socket
import tempfile
from pathlib import Path

import aiohttp
import jwt
import pytest
from processes import children, listens

from realtime_bridge.database import migrations_directory
from tma_sandbox.errors import PortInUseError, StackError
from tma_sandbox.stack import LocalStack


@pytest.fixture
def open_dir():
    """A directory that the user PostgreSQL runs as can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def nothing_left(tmp_path, open_dir, monkeypatch):  # tmp_path: pytest's place comes first
    """Check afterwards that no process and no temporary file of ours is left."""
    monkeypatch.setattr("tempfile.tempdir", str(open_dir))
    before = children(os.getpid())
    yield
    assert children(os.getpid()) == before
    assert [path for path in open_dir.iterdir() if path.name.startswith("tma-sandbox")] == []


async def test_a_stack_says_what_it_does_and_stops_without_a_trace(nothing_left):
    """It reports its steps, the keys fit the secret, and no process or port is left."""
    steps = []
    async with LocalStack(migrations=migrations_directory(), progress=steps.append) as stack:
        settings = stack.env()
        secret = settings["SUPABASE_JWT_SECRET"]
        roles = [
            jwt.decode(settings[name], secret, algorithms=["HS256"])["role"]
            for name in ("SUPABASE_KEY", "SUPABASE_ANON_KEY")
        ]
        serving = listens(stack.port)

    assert steps == [
        "Starting PostgreSQL",
        "Applying migrations",
        "Starting PostgREST and Realtime",
    ]
    assert roles == ["service_role", "anon"]
    assert settings["SUPABASE_URL"] == settings["TELEGRAM_API_URL"] == stack.url
    assert serving
    assert not listens(stack.port)


async def test_a_taken_port_is_told_before_anything_starts(nothing_left):
    """The most likely failure costs no time."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use"):
            await LocalStack(port, migrations=migrations_directory()).start()


async def test_a_part_that_fails_takes_the_others_down(nothing_left, monkeypatch, tmp_path):
    """A broken migration makes the start fail, and Postgres is stopped."""
    (tmp_path / "20250101000000_broken.sql").write_text("select 1/0")
    stack = LocalStack(migrations=tmp_path)

    with pytest.raises(StackError, match=r"migration 20250101000000_broken\.sql failed"):
        await stack.start()

    assert not listens(stack.port)


@pytest.mark.parametrize(
    "step", ["Starting PostgreSQL", "Applying migrations", "Starting PostgREST and Realtime"]
)
async def test_a_start_can_be_cancelled_at_any_step(nothing_left, step):
    """Ctrl-C during the start is as clean as later."""
    reached = asyncio.Event()
    stack = LocalStack(
        migrations=migrations_directory(),
        progress=lambda told: reached.set() if told == step else None,
    )
    starting = asyncio.create_task(stack.start())
    await reached.wait()

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_data_directory_keeps_rows_and_keys(open_dir, nothing_left):
    """The next start has the same anon key and the same rows."""
    directory = open_dir / "data"
    async with LocalStack(migrations=migrations_directory(), data_dir=directory) as first:
        settings = first.env()
        await insert(first)
    async with LocalStack(
        first.port, migrations=migrations_directory(), data_dir=directory
    ) as second:
        again = second.env()
        count = await insert(second)

    assert count == 2
    assert again["SUPABASE_JWT_SECRET"] == settings["SUPABASE_JWT_SECRET"]
    assert again["BOT_TOKEN"] == settings["BOT_TOKEN"]
    assert (directory / "keys.json").stat().st_mode & 0o077 == 0


async def test_connected_clients_do_not_delay_the_stop(nothing_left, monkeypatch):
    """A websocket and a long poll are closed at once, without a timeout."""
    monkeypatch.setattr("tma_sandbox.gateway._STOP_SECONDS", 30)
    async with aiohttp.ClientSession() as session:
        async with LocalStack(migrations=migrations_directory()) as stack:
            settings = stack.env()
            key, token = settings["SUPABASE_KEY"], settings["BOT_TOKEN"]
            websocket = await session.ws_connect(
                f"{stack.url}/realtime/v1/websocket", params={"apikey": key, "vsn": "1.0.0"}
            )
            poll = asyncio.create_task(session.get(f"{stack.url}/bot{token}/getUpdates?timeout=30"))
            async with session.get(f"{stack.url}/bot{token}/getMe") as answer:
                assert answer.ok
            stopping = asyncio.get_running_loop().time()
        took = asyncio.get_running_loop().time() - stopping

        assert (await websocket.receive()).type in {
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSED,
        }
        assert (await poll).status == 200
    assert took < 15


async def insert(stack: LocalStack) -> int:
    """Insert an event by REST; return how many there are."""
    headers = {"apikey": stack.env()["SUPABASE_KEY"], "Prefer": "count=exact"}
    async with aiohttp.ClientSession(stack.url, headers=headers) as session:
        event = {"telegram_id": 1, "event_type": "status_changed"}
        async with session.post("/rest/v1/tma_events", json=event) as answer:
            answer.raise_for_status()
        async with session.head("/rest/v1/tma_events") as answer:
            return int(answer.headers["Content-Range"].rpartition("/")[2])
