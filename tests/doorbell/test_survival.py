"""Every known way in which a working connection fails: the doorbell recovers by itself."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest

from realtime_bridge.doorbell import Bell, Reason
from realtime_bridge.doorbell.connection import Connection
from tests.doorbell.harness import Clock, DoorbellHarness, until
from tests.doorbell.scripted_server import EXPIRED, ScriptedRealtime, ignore, never

Start = Callable[..., DoorbellHarness]
Inject = Callable[[ScriptedRealtime, Connection], Awaitable[None]]


def boom(_: object) -> None:
    raise RuntimeError("a callback that raises")


async def kill_and_restart(server: ScriptedRealtime, _: Connection) -> None:
    await server.kill()
    await server.start()


async def close_channel(server: ScriptedRealtime, _: Connection) -> None:
    await server.channel.phx_close()


async def crash_channel(server: ScriptedRealtime, _: Connection) -> None:
    await server.channel.phx_error()


async def expire_token(server: ScriptedRealtime, _: Connection) -> None:
    await server.channel.system_error(EXPIRED, extension="system")
    await server.channel.phx_close()


async def pass_a_limit(server: ScriptedRealtime, _: Connection) -> None:
    await server.channel.system_error("Too many messages per second", extension="system")
    await server.channel.phx_close()


async def raising_callback(server: ScriptedRealtime, connection: Connection) -> None:
    connection._client.channel.on_broadcast("rows", boom)
    await server.channel.broadcast()


async def reading_ends(_: ScriptedRealtime, connection: Connection) -> None:
    connection._client._client._listen_task.cancel()


async def heartbeat_ends(_: ScriptedRealtime, connection: Connection) -> None:
    connection._client._client._heartbeat_task.cancel()


async def library_leaves(_: ScriptedRealtime, connection: Connection) -> None:
    await connection._client.channel.unsubscribe()


async def bytes_that_are_no_text(server: ScriptedRealtime, _: Connection) -> None:
    await server.channel.socket.send(b"\xff\xfe{", text=True)


async def bytes_that_are_no_frame(server: ScriptedRealtime, _: Connection) -> None:
    server.channel.socket.transport.write(b"\xff\xff\xff\xff")


async def frame_too_large(server: ScriptedRealtime, _: Connection) -> None:
    await server.channel.socket.send("x" * (2**20 + 1))


def close_socket(code: int) -> Inject:
    async def inject(server: ScriptedRealtime, _: Connection) -> None:
        await server.channel.socket.close(code)

    inject.__name__ = f"close_with_{code}"
    return inject


FAILURES: list[tuple[Inject, Reason]] = [
    (kill_and_restart, Reason.LOST),
    (close_socket(1000), Reason.LOST),
    (close_socket(1001), Reason.LOST),
    (close_socket(1012), Reason.LOST),
    (bytes_that_are_no_text, Reason.LOST),
    (bytes_that_are_no_frame, Reason.LOST),
    (frame_too_large, Reason.LOST),
    (close_channel, Reason.CLOSED),
    (crash_channel, Reason.CLOSED),
    (pass_a_limit, Reason.CLOSED),
    (library_leaves, Reason.CLOSED),
    (expire_token, Reason.TOKEN),
    (raising_callback, Reason.STUCK),
    (reading_ends, Reason.STUCK),
    (heartbeat_ends, Reason.STUCK),
]


@pytest.mark.parametrize(
    ("inject", "reason"), FAILURES, ids=[inject.__name__ for inject, _ in FAILURES]
)
async def test_a_failure_is_noticed_and_repaired(
    server: ScriptedRealtime, start_doorbell: Start, inject: Inject, reason: Reason
) -> None:
    """After a failure the doorbell says why it is down, is ready again, and rings as before."""
    harness = start_doorbell()
    await harness.ready()
    await until(lambda: harness.rings == ["ready", "ready"])
    (connection,) = harness.doorbell._connections.open

    await inject(server, connection)
    await harness.rebuilt(reason)
    await harness.ready()

    assert ("down", reason) in harness.observer.calls
    assert harness.reasons[0] is reason
    assert harness.doorbell.status.last_error
    assert harness.doorbell.status.rebuilds == len(harness.reasons)
    await until(lambda: harness.rings.count("ready") == 4)
    await server.channel.change()
    await until(lambda: harness.rings[-1] == "changes")
    await server.channel.broadcast()
    await until(lambda: harness.rings[-1] == "broadcast")
    await until(lambda: len(server.sockets) == 1)
    assert server.attempts <= 1 + len(harness.reasons), "the library dials by itself"


@pytest.mark.parametrize(
    "inject", [reading_ends, heartbeat_ends, close_channel, close_socket(1000)]
)
async def test_a_failure_is_noticed_at_once(
    server: ScriptedRealtime, start_doorbell: Start, inject: Inject
) -> None:
    """What a callback or the end of a task reveals does not wait for the next look."""
    harness = start_doorbell(timing={"look_every": 60.0})
    await harness.ready()
    (connection,) = harness.doorbell._connections.open

    await inject(server, connection)

    await until(lambda: harness.reasons)


async def test_a_server_that_is_down_for_long_is_found_again(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """The doorbell is ready again even after an outage longer than the library's five tries."""
    harness = start_doorbell()
    await harness.ready()

    await server.kill()
    await harness.rebuilt(Reason.CONNECT, times=12)
    down = harness.doorbell.status
    await server.start()
    await harness.ready()

    assert not down.healthy
    assert down.changes == down.broadcast == "down"
    assert harness.observer.calls.count(("down", Reason.LOST)) == 1
    assert harness.doorbell.status.healthy


async def test_the_status_says_since_when(server: ScriptedRealtime, start_doorbell: Start) -> None:
    """`since` is when the doorbell last became healthy, or stopped being so."""
    clock = Clock(5.0)
    harness = start_doorbell(clock=clock)
    begun = harness.doorbell.status.since
    clock.seconds = 7.0
    await harness.ready()
    ready = harness.doorbell.status.since

    clock.seconds = 9.0
    await server.kill()
    await harness.rebuilt(Reason.CONNECT, times=2)

    assert [begun, ready, harness.doorbell.status.since] == [5.0, 7.0, 9.0]


async def test_a_frozen_server_is_noticed_by_its_silence(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A server process that is stopped (SIGSTOP) is given up, and found again when it continues."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.doorbell.scripted_server", stdout=asyncio.subprocess.PIPE
    )
    port = int(await process.stdout.readline())
    try:
        harness = start_doorbell(
            url=f"http://127.0.0.1:{port}",
            timing={"reply_timeout": 0.3, "pong_timeout": 0.3, "close_timeout": 0.1},
        )
        await harness.ready()

        process.send_signal(signal.SIGSTOP)
        await harness.rebuilt(Reason.FROZEN)
        await harness.rebuilt(Reason.CONNECT, times=2)
        process.send_signal(signal.SIGCONT)
        await harness.ready()

        assert ("down", Reason.FROZEN) in harness.observer.calls
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "no json",
        "[1, 2]",
        '{"event": "phx_reply"}',
        '{"ref":null,"event":"news","payload":{},"topic":"realtime:tma_bell"}',
        '{"ref":null,"event":"postgres_changes","payload":{"ids":"?"},"topic":"realtime:tma_bell"}',
        '{"ref":null,"event":"broadcast","payload":{"event":"rows"},"topic":"realtime:tma_bell"}',
        b"\x00\xff\x80 binary",
    ],
)
async def test_a_frame_that_does_not_parse_changes_nothing(
    server: ScriptedRealtime, start_doorbell: Start, frame: str | bytes
) -> None:
    """A malformed frame is ignored, and the next ring is heard."""
    harness = start_doorbell()
    await harness.ready()

    await server.channel.socket.send(frame)
    await server.channel.change()

    await until(lambda: "changes" in harness.rings)
    assert harness.reasons == []


async def test_rings_without_a_table_or_with_a_strange_one_are_rings(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A ring counts whatever its payload is."""
    harness = start_doorbell()
    await harness.ready()

    await server.channel.broadcast(table=None)
    await server.channel.broadcast(table={"no": "name"})
    for record in (None, {}, {"table_name": 5}, {"table_name": None}, {"id": "x" * 1000}):
        await server.channel.change_of(record)

    await until(lambda: harness.rings.count("broadcast") == 2)
    await until(lambda: harness.rings.count("changes") == 5)
    assert harness.reasons == []


async def test_rings_for_the_tables_of_others_wake_nobody(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """All tables of a project ring the same bells; each bridge works for its own."""
    harness = start_doorbell()
    await harness.ready()

    for table in ("plan_requests", "x" * 10_000, "tma_events"):
        await server.channel.change(table)
        await server.channel.broadcast(table)

    await until(lambda: len(harness.rings) == 4)
    assert sorted(harness.rings) == ["broadcast", "changes", "ready", "ready"]


@pytest.mark.parametrize("listener", ["wake", "observer"])
async def test_a_listener_that_raises_does_not_make_us_deaf(
    server: ScriptedRealtime, start_doorbell: Start, listener: str
) -> None:
    """An exception in a callback is logged, and the ringing goes on."""
    heard: list[object] = []

    class Broken:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *what: heard.append(name) or boom(what)

    broken = Broken()
    harness = start_doorbell(**{listener: broken if listener == "observer" else broken.wake})
    await harness.ready()

    await server.channel.broadcast()
    await server.channel.change()
    await server.channel.phx_close()
    await until(lambda: len(server.joins) == 2)
    await harness.ready()

    assert len(heard) >= 4
    assert harness.doorbell.status.rebuilds == 1


@pytest.mark.parametrize(
    "moment",
    [
        "at once",
        "while connecting",
        "while joining",
        "when ready",
        "while closing",
        "while waiting",
    ],
)
async def test_stopping_leaves_nothing_behind(
    server: ScriptedRealtime, start_doorbell: Start, moment: str
) -> None:
    """Cancelled at any moment, the doorbell closes its sockets and ends its tasks."""
    server.handshake = never if moment == "while connecting" else server.handshake
    server.answer = ignore if moment == "while joining" else server.answer
    harness = DoorbellHarness(server.url)
    match moment:
        case "while connecting":
            await until(lambda: server.attempts)
        case "while joining":
            await until(lambda: server.joins)
        case "when ready":
            await harness.ready()
        case "while closing":
            await harness.ready()
            harness.observer.rebuilt = lambda _: harness.task.cancel()
            await server.channel.phx_close()
            await asyncio.wait([harness.task], timeout=5)
        case "while waiting":
            await server.kill()
            await harness.rebuilt(Reason.CONNECT)

    await harness.stop()

    assert harness.task.cancelled()
    await until(lambda: not server.sockets)
    assert not harness.doorbell._connections.open
    assert harness.state(Bell.CHANGES) == "down"
