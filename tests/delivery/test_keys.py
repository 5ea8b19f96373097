"""The key changes under load: no event is lost, doubled or late."""

import asyncio
import os
import pty
import signal
import sys

import jwt
import pytest
from structlog.testing import capture_logs

from tests.integration.kit import Process, until
from tests.run_mark import mark

KEYS = 10
RATE = 20  # events a second


def key(world, number):
    """A service key of this stack, none like the other."""
    claims = {"role": "service_role", "jti": str(number), "exp": 2_000_000_000 + number}
    return jwt.encode(claims, world.stack.keys.jwt_secret, algorithm="HS256")


def put(path, content, number):
    """Replace a file: in place, by another one, or as kubelet does, by a link to a link."""
    match number % 3:
        case 0:
            path.write_text(content)
        case 1:
            (new := path.with_suffix(".new")).write_text(content)
            new.replace(path)
        case _:
            folder = path.parent / f"..{number}"
            folder.mkdir()
            (folder / path.name).write_text(content)
            (link := path.parent / "..new").symlink_to(folder / path.name)
            link.replace(path)


@pytest.fixture
def key_file(world, tmp_path):
    path = tmp_path / "supabase_key"
    path.write_text(key(world, 0))
    return path


def settings(supabase, key_file):
    return {
        "SUPABASE_URL": supabase.url,
        "SUPABASE_KEY": "",
        "SUPABASE_KEY_FILE": str(key_file),
    }


def of(lines, *events):
    """What was said at INFO and above."""
    return [line for line in lines if line["event"] in events and line["log_level"] != "debug"]


async def said(lines, event, times=1):
    return len(of(lines, event)) >= times


async def load(world, stopping):
    """Insert events for ever other chats, until told to stop.

    Return their ids, and the seconds of the slowest insert: what one call costs on this machine.
    """
    ids, slowest = [], 0.0
    clock = asyncio.get_running_loop().time
    while not stopping.is_set():
        begun = clock()
        ids.append(await world.insert(1000 + len(ids)))
        slowest = max(slowest, clock() - begun)
        await asyncio.sleep(1 / RATE)
    return ids, slowest


async def test_ten_keys_under_load_each_revoked_at_once(world, supabase, key_file):
    """The file is replaced and the old key refused in the same moment, calls and websocket."""
    stopping = asyncio.Event()
    with capture_logs() as lines:
        async with world.running_bridge(**settings(supabase, key_file)) as bridge:
            loading = asyncio.create_task(load(world, stopping))
            for number in range(1, KEYS + 1):
                await asyncio.sleep(1)
                put(key_file, key(world, number), number)
                supabase.revoke(key(world, number - 1))
            await asyncio.sleep(1)
            stopping.set()
            ids, one_call = await loading
            rows = await world.settled(len(ids))
            await until(lambda: all_ready(bridge))

    sent = await world.sent()
    late = [row["delivered_at"] - row["created_at"] for row in rows]
    assert len(ids) > KEYS * RATE / 2
    assert [row["status"] for row in rows] == ["delivered"] * len(ids)
    assert sorted(message["message_id"] for message in sent) == sorted(
        row["message_id"] for row in rows
    )
    # A second, and what the five calls of a message cost here at their slowest.
    assert max(late).total_seconds() < 1.0 + 5 * one_call
    assert [line["ends"][:4] for line in of(lines, "key_changed")] == ["2033"] * KEYS
    assert of(lines, "queue_refused", "key_not_taken") == []


async def all_ready(bridge):
    doorbell = bridge.readiness()[1]["doorbell"]
    return doorbell["changes"] == doorbell["broadcast"] == "ready"


async def test_a_wrong_key_in_the_file_costs_nothing(world, supabase, key_file):
    """Half of one, one of another project, none at all: the bridge works on with what it has."""
    foreign = jwt.encode({"role": "service_role"}, "of quite another project, this one", "HS256")
    with capture_logs() as lines:
        async with world.running_bridge(**settings(supabase, key_file)):
            for number, content in enumerate(("", key(world, 1)[:-4], foreign), start=1):
                put(key_file, content, 1)
                await until(lambda number=number: said(lines, "key_not_taken", times=number))
                await world.insert()
            rows = await world.settled(3)

    refused = of(lines, "key_not_taken")
    assert {row["status"] for row in rows} == {"delivered"}
    assert ["is empty" in refused[0]["error"], "truncated" in refused[1]["error"]] == [True, True]
    assert "refused the key" in refused[2]["error"]
    assert len(refused) == 3


async def test_the_key_is_revoked_before_another_one_is_there(world, supabase, key_file):
    """Events wait, the log says so in one line, and the new key is taken as it comes."""
    with capture_logs() as lines:
        async with world.running_bridge(**settings(supabase, key_file)) as bridge:
            supabase.revoke(key(world, 0))
            await world.insert()
            await until(lambda: said(lines, "queue_refused"))
            await asyncio.sleep(3)
            assert not bridge.readiness()[0]
            put(key_file, key(world, 1), 1)
            (row,) = await world.settled(1)
            await until(lambda: all_ready(bridge))

    assert row["status"] == "delivered"
    assert len(await world.sent()) == 1
    assert len(of(lines, "queue_refused")) == 1


async def test_sighup_reads_the_env_file_again(world, start, supabase, tmp_path):
    """A process that is told so goes on with the new key, and tells when it ends."""
    env_file = tmp_path / "bridge.env"

    def write(number):
        values = {**world.environment(), "SUPABASE_URL": supabase.url}
        values["SUPABASE_KEY"] = key(world, number)
        env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    write(0)
    run = await start("run", "--env-file", str(env_file))
    await run.says("doorbell_ready")
    await run.says("SIGHUP")
    write(1)
    os.kill(run.process.pid, signal.SIGHUP)
    await run.says("key_changed")
    supabase.revoke(key(world, 0))
    await world.insert()
    (row,) = await world.settled(1)

    assert row["status"] == "delivered"
    assert "queue_refused" not in run.output
    assert await run.stop() == 0


IN_A_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "realtime_bridge", "run"])
"""


@pytest.mark.parametrize("nohup", ["nohup", ""])
async def test_a_terminal_that_is_closed_ends_a_bridge_that_was_started_in_it(world, nohup):
    """There SIGHUP means that nobody is there any more, unless somebody said nohup."""
    control, terminal = pty.openpty()
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    run = Process(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", IN_A_TERMINAL, nohup),
            stdin=terminal,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={**inherited, **mark(), **world.environment(), "PYTHONUNBUFFERED": "1"},
        )
    )
    os.close(terminal)
    try:
        await run.says("doorbell_ready")
        run.process.send_signal(signal.SIGHUP)
        await run.says("key_unchanged")

        os.close(control)
        if nohup:
            await world.insert()
            await world.settled(1)
            run.process.send_signal(signal.SIGTERM)
        assert await run.ended() == 0
    finally:
        await run.kill()
    assert "stopped" in run.output
