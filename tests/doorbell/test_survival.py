"""Each way in which a working connection is known to fail: the doorbell comes back by itself."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest

from realtime_bridge.doorbell import Bell, Reason
from realtime_bridge.doorbell.connection import Connection
from tests.doorbell.scripted import EXPIRED, ScriptedRealtime, ignore, never
from tests.doorbell.visitor import Clock, Visitor, until

Visit = Callable[..., Visitor]
Hurt = Callable[[ScriptedRealtime, Connection], Awaitable[None]]


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


async def raising_callback(server: ScriptedRealtime, session: Connection) -> None:
    session._library.channel.on_broadcast("rows", boom)
    await server.channel.broadcast()


async def reading_ends(_: ScriptedRealtime, session: Connection) -> None:
    session._library.client._listen_task.cancel()


async def heartbeat_ends(_: ScriptedRealtime, session: Connection) -> None:
    session._library.client._heartbeat_task.cancel()


async def library_leaves(_: ScriptedRealtime, session: Connection) -> None:
    await session._library.channel.unsubscribe()


async def bytes_that_are_no_text(server: ScriptedRealtime, _: Connection) -> None:
    await server.channel.socket.send(b"\xff\xfe{", text=True)


async def bytes_that_are_no_frame(server: ScriptedRealtime, _: Connection) -> None:
    server.channel.socket.transport.write(b"\xff\xff\xff\xff")


async def frame_too_large(server: ScriptedRealtime, _: Connection) -> None:
    await server.channel.socket.send("x" * (2**20 + 1))


def close_socket(code: int) -> Hurt:
    async def hurt(server: ScriptedRealtime, _: Connection) -> None:
        await server.channel.socket.close(code)

    hurt.__name__ = f"close_with_{code}"
    return hurt


FAILURES: list[tuple[Hurt, Reason]] = [
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


@pytest.mark.parametrize(("hurt", "reason"), FAILURES, ids=[hurt.__name__ for hurt, _ in FAILURES])
async def test_a_failure_is_noticed_and_mended(
    server: ScriptedRealtime, visit: Visit, hurt: Hurt, reason: Reason
) -> None:
    """After a failure the doorbell says why it is down, is ready again, and rings as before."""
    visitor = visit()
    await visitor.ready()
    await until(lambda: visitor.rings == ["ready", "ready"])
    (session,) = visitor.doorbell._sessions

    await hurt(server, session)
    await visitor.rebuilt(reason)
    await visitor.ready()

    assert ("down", reason) in visitor.told.all
    assert visitor.reasons[0] is reason
    assert visitor.doorbell.status.last_error
    assert visitor.doorbell.status.rebuilds == len(visitor.reasons)
    await until(lambda: visitor.rings.count("ready") == 4)
    await server.channel.change()
    await until(lambda: visitor.rings[-1] == "changes")
    await server.channel.broadcast()
    await until(lambda: visitor.rings[-1] == "broadcast")
    await until(lambda: len(server.sockets) == 1)
    assert server.attempts <= 1 + len(visitor.reasons), "the library dials by itself"


@pytest.mark.parametrize("hurt", [reading_ends, heartbeat_ends, close_channel, close_socket(1000)])
async def test_a_failure_is_noticed_at_once(
    server: ScriptedRealtime, visit: Visit, hurt: Hurt
) -> None:
    """What can be told by a callback or a task's end does not wait for the next look."""
    visitor = visit(limits={"look_every": 60.0})
    await visitor.ready()
    (session,) = visitor.doorbell._sessions

    await hurt(server, session)

    await until(lambda: visitor.reasons)


async def test_a_server_that_is_down_for_long_is_found_again(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """An outage longer than the library's own five tries ends with a ready doorbell."""
    visitor = visit()
    await visitor.ready()

    await server.kill()
    await visitor.rebuilt(Reason.CONNECT, times=12)
    down = visitor.doorbell.status
    await server.start()
    await visitor.ready()

    assert not down.healthy
    assert down.changes == down.broadcast == "down"
    assert visitor.told.all.count(("down", Reason.LOST)) == 1
    assert visitor.doorbell.status.healthy


async def test_the_status_says_since_when(server: ScriptedRealtime, visit: Visit) -> None:
    """`since` is the moment at which the doorbell last went from healthy to not, or back."""
    clock = Clock(5.0)
    visitor = visit(clock=clock)
    begun = visitor.doorbell.status.since
    clock.seconds = 7.0
    await visitor.ready()
    ready = visitor.doorbell.status.since

    clock.seconds = 9.0
    await server.kill()
    await visitor.rebuilt(Reason.CONNECT, times=2)

    assert [begun, ready, visitor.doorbell.status.since] == [5.0, 7.0, 9.0]


async def test_a_frozen_server_is_noticed_by_its_silence(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """A server process that is stopped (SIGSTOP) and goes on later is left and found again."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.doorbell.scripted", stdout=asyncio.subprocess.PIPE
    )
    port = int(await process.stdout.readline())
    try:
        visitor = visit(
            url=f"http://127.0.0.1:{port}", limits={"reply": 0.3, "pong": 0.3, "close": 0.1}
        )
        await visitor.ready()

        process.send_signal(signal.SIGSTOP)
        await visitor.rebuilt(Reason.FROZEN)
        await visitor.rebuilt(Reason.CONNECT, times=2)
        process.send_signal(signal.SIGCONT)
        await visitor.ready()

        assert ("down", Reason.FROZEN) in visitor.told.all
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
    server: ScriptedRealtime, visit: Visit, frame: str | bytes
) -> None:
    """A frame that makes no sense is passed over, and the next ring is heard."""
    visitor = visit()
    await visitor.ready()

    await server.channel.socket.send(frame)
    await server.channel.change()

    await until(lambda: "changes" in visitor.rings)
    assert visitor.reasons == []


async def test_rings_without_a_table_or_with_a_strange_one_are_rings(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """A ring is a ring whatever it carries."""
    visitor = visit()
    await visitor.ready()

    await server.channel.broadcast(table=None)
    await server.channel.broadcast(table={"no": "name"})
    for record in (None, {}, {"table_name": 5}, {"table_name": None}, {"id": "x" * 1000}):
        await server.channel.change_of(record)

    await until(lambda: visitor.rings.count("broadcast") == 2)
    await until(lambda: visitor.rings.count("changes") == 5)
    assert visitor.reasons == []


async def test_rings_for_the_tables_of_others_wake_nobody(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """All tables of a project ring the same bells; each bridge works for its own."""
    visitor = visit()
    await visitor.ready()

    for table in ("plan_requests", "x" * 10_000, "tma_events"):
        await server.channel.change(table)
        await server.channel.broadcast(table)

    await until(lambda: len(visitor.rings) == 4)
    assert sorted(visitor.rings) == ["broadcast", "changes", "ready", "ready"]


@pytest.mark.parametrize("listener", ["wake", "observer"])
async def test_a_listener_that_raises_does_not_make_us_deaf(
    server: ScriptedRealtime, visit: Visit, listener: str
) -> None:
    """What others do in their callbacks is their trouble; the ringing goes on."""
    heard: list[object] = []

    class Broken:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *what: heard.append(name) or boom(what)

    broken = Broken()
    visitor = visit(**{listener: broken if listener == "observer" else broken.wake})
    await visitor.ready()

    await server.channel.broadcast()
    await server.channel.change()
    await server.channel.phx_close()
    await until(lambda: len(server.joins) == 2)
    await visitor.ready()

    assert len(heard) >= 4
    assert visitor.doorbell.status.rebuilds == 1


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
    server: ScriptedRealtime, visit: Visit, moment: str
) -> None:
    """Cancelled at any moment, the doorbell closes its sockets and ends its tasks."""
    server.handshake = never if moment == "while connecting" else server.handshake
    server.answer = ignore if moment == "while joining" else server.answer
    visitor = Visitor(server.url)
    match moment:
        case "while connecting":
            await until(lambda: server.attempts)
        case "while joining":
            await until(lambda: server.joins)
        case "when ready":
            await visitor.ready()
        case "while closing":
            await visitor.ready()
            visitor.told.rebuilt = lambda _: visitor.task.cancel()
            await server.channel.phx_close()
            await asyncio.wait([visitor.task], timeout=5)
        case "while waiting":
            await server.kill()
            await visitor.rebuilt(Reason.CONNECT)

    await visitor.leave()

    assert visitor.task.cancelled()
    await until(lambda: not server.sockets)
    assert not visitor.doorbell._sessions
    assert visitor.state(Bell.CHANGES) == "down"
