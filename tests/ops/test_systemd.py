"""What a service manager is told, and how the process obeys it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
import pytest_asyncio

from realtime_bridge.observe import systemd
from tests.integration.kit import Process
from tests.run_mark import mark


class Manager:
    """A notification socket, as systemd makes one."""

    def __init__(self, path):
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(f"\0{self.path[1:]}" if self.path.startswith("@") else self.path)

    async def next(self, seconds=40.0):
        async with asyncio.timeout(seconds):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()

    async def until(self, wanted):
        told = []
        while wanted not in told:
            told.append(await self.next())
        return told

    def close(self):
        self._socket.close()


@pytest.fixture
def manager(tmp_path):
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


async def test_a_bridge_tells_that_it_is_ready_alive_and_stopping(world, tmp_path, manager):
    """READY=1 only when messages flow, WATCHDOG=1 from the event loop, STOPPING=1 at the end."""
    environment = world.environment(NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="2000000")
    bridge = await Process.start("run", cwd=tmp_path, env=environment)
    try:
        told = await manager.until("READY=1")
        told += await manager.until("WATCHDOG=1")
    finally:
        code = await bridge.stop()
    told += await manager.until("STOPPING=1")

    assert code == 0
    assert set(told) == {"READY=1", "WATCHDOG=1", "STOPPING=1"}


async def test_nobody_is_told_where_nobody_asks(monkeypatch, tmp_path):
    """No manager, or one that is gone."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify_systemd(systemd.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))

    systemd.notify_systemd(systemd.READY)


async def test_a_manager_that_does_not_listen_holds_nobody_up(monkeypatch, manager):
    """Its queue is full; the event loop turns on."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.path)

    for _ in range(1000):
        systemd.notify_systemd(systemd.READY)

    assert await manager.next() == "READY=1"


async def test_an_abstract_socket_is_reached(monkeypatch, tmp_path):
    """Its name begins with a zero byte, written as @."""
    manager = Manager(f"@realtime-bridge-{tmp_path.name}")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.path)

    systemd.notify_systemd(systemd.READY)

    assert await manager.next() == "READY=1"
    manager.close()


async def test_without_a_watchdog_nothing_beats(monkeypatch, manager):
    """The task waits for its end."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.path)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    beating = asyncio.create_task(systemd.beat_watchdog())

    with pytest.raises(TimeoutError):
        await manager.next(0.1)

    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating


LOADING = """
import os, sys
from realtime_bridge import cli
load = cli._settings
def told(env_file):
    print("loading as process", os.getpid(), flush=True)
    return load(env_file)
cli._settings = told
sys.argv[1:] = ["run"]
cli.main()
"""


@pytest.fixture(scope="module")
def namespace():
    """What gives a command a process namespace of its own, where this machine lets us."""
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    allowed = subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0
    return words if allowed else []  # an ordinary process has less to obey


@pytest_asyncio.fixture(loop_scope="session")
async def as_process_1(tmp_path, namespace):
    """Run code as process 1 of a container would."""
    started = []

    async def start(code, env):
        process = await asyncio.create_subprocess_exec(
            *namespace,
            sys.executable,
            "-c",
            code,
            cwd=tmp_path,
            env={**mark(), "PATH": os.environ["PATH"], **env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        started.append(Process(process))
        return started[-1]

    yield start
    for process in started:
        await process.kill()


async def test_sigterm_stops_process_1_from_its_first_moment(world, as_process_1):
    """The kernel drops signals for which process 1 of a container has no handler."""
    bridge = await as_process_1(LOADING, world.environment())
    await bridge.says("loading as process")
    inner = psutil.Process(bridge.process.pid).children() or [psutil.Process(bridge.process.pid)]

    inner[0].send_signal(signal.SIGTERM)

    assert await bridge.ended(8) == 0, bridge.output
