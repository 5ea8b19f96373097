"""Connections that still work are replaced without a gap: keys that end, connections grown old."""

from collections.abc import Callable

import jwt
from structlog.testing import capture_logs

from realtime_bridge.doorbell import Bell, Reason
from tests.doorbell.scripted import EXPIRED, ScriptedRealtime, grant, refuse, status
from tests.doorbell.visitor import Clock, Visitor, until

Visit = Callable[..., Visitor]
NOON = 1_800_000_000.0


def token(lives: float) -> str:
    """Return a JWT that expires so many seconds after NOON."""
    claims = {"role": "tma_bridge", "exp": int(NOON + lives)}
    return jwt.encode(claims, "x" * 32, algorithm="HS256")


async def test_a_key_is_changed_before_it_expires(server: ScriptedRealtime, visit: Visit) -> None:
    """With another key at hand the connection is renewed with it, and rings all the while."""
    now, first, second = Clock(NOON), token(3600), token(7200)
    visitor = visit(key=first, now=now)
    visitor.expected_reads = 1000  # near the end of a key it looks for another one all the time
    await visitor.ready()

    visitor.key = second
    now.seconds += 3600 - 59
    await visitor.rebuilt(Reason.TOKEN)

    assert server.keys == [first, second]
    assert [channel.token for channel in server.joins] == [first, second]
    assert not [what for what in visitor.told.all if what[0] == "down"]
    await visitor.ready()
    await until(lambda: len(server.sockets) == 1)
    await server.channel.change()
    await until(lambda: visitor.rings[-1] == "changes")


async def test_a_key_is_not_changed_before_its_time(server: ScriptedRealtime, visit: Visit) -> None:
    """A key with an hour to live is kept, whatever other key there may be."""
    visitor = visit(key=token(3600), now=Clock(NOON))
    await visitor.ready()

    visitor.key = token(7200)
    await server.channel.phx_error()
    await visitor.rebuilt(Reason.CLOSED)

    assert visitor.reasons == [Reason.CLOSED]


async def test_a_key_without_a_successor_is_mourned_loudly(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """The last minute of the only key is announced once; afterwards every attempt reads it anew."""
    now, only = Clock(NOON), token(3600)
    with capture_logs() as logs:
        visitor = visit(key=only, now=now)
        visitor.expected_reads = 1000
        await visitor.ready()
        now.seconds += 3600 - 30
        await until(lambda: [line for line in logs if line["log_level"] == "error"])
    server.handshake = status(401, '{"error":"Token has expired"}')
    await server.channel.system_error(EXPIRED, extension="system")
    await server.channel.phx_close()
    await visitor.rebuilt(Reason.TOKEN, times=3)
    visitor.key = token(7200)
    server.handshake = ScriptedRealtime().handshake
    await visitor.ready()

    lines = [line for line in logs if line["event"] == "doorbell_key_expires"]
    assert [(line["log_level"], line["seconds_left"]) for line in lines] == [
        ("warning", 3600),
        ("error", 30),
    ]
    assert only not in str(logs)


async def test_a_key_that_cannot_be_read_any_more_is_kept(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """Looking for another key may fail without hurting the connection that works."""
    now = Clock(NOON)
    visitor = visit(key=token(3600), now=now)
    visitor.expected_reads = 1000
    await visitor.ready()

    visitor.key = OSError("gone")
    now.seconds += 3600 - 30
    reads = visitor.key_reads
    await until(lambda: visitor.key_reads >= reads + 3)

    assert visitor.doorbell.healthy
    assert visitor.reasons == []


async def test_an_old_connection_is_replaced(server: ScriptedRealtime, visit: Visit) -> None:
    """An idle connection may have gone deaf unnoticed: it is replaced, without a gap."""
    clock = Clock()
    visitor = visit(clock=clock)
    await visitor.ready()

    clock.seconds += 3600
    await visitor.rebuilt(Reason.REFRESH)

    assert visitor.doorbell.healthy
    assert not [what for what in visitor.told.all if what[0] == "down"]
    await until(lambda: visitor.rings == ["ready"] * 4)
    await until(lambda: len(server.sockets) == 1)
    assert len(server.joins) == 2


async def test_a_renewal_that_fails_leaves_the_old_connection(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """A server that takes no new connections does not cost the one that works."""
    clock = Clock()
    visitor = visit(clock=clock)
    visitor.expected_reads = 2
    await visitor.ready()

    with capture_logs() as logs:
        server.then(refuse("ConnectionRateLimitReached: Too many connected users"))
        clock.seconds += 3600
        await until(lambda: [line for line in logs if line["event"] == "doorbell_kept"])
    first = server.joins[0]
    await first.change()
    await until(lambda: "changes" in visitor.rings)
    clock.seconds += 300
    await visitor.rebuilt(Reason.REFRESH)

    assert len(server.joins) == 3
    assert visitor.reasons == [Reason.REFRESH]


async def test_both_connections_ring_during_a_renewal(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """Until the new connection is ready, rings on the old one and on the new one count."""
    clock = Clock()
    visitor = visit(clock=clock)
    await visitor.ready()

    server.then(lambda channel: channel.reply())
    clock.seconds += 3600
    await until(lambda: len(server.joins) == 2)
    old, new = server.joins
    await old.change()
    await until(lambda: "changes" in visitor.rings)
    await new.broadcast()
    await until(lambda: "broadcast" in visitor.rings)
    await new.system_ok()
    await visitor.rebuilt(Reason.REFRESH)

    assert visitor.state(Bell.CHANGES) == "ready"


async def test_a_connection_lost_during_its_renewal_is_rebuilt(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """If the old connection dies before the new one is ready, both go and a third one is built."""
    clock = Clock()
    visitor = visit(clock=clock)
    visitor.expected_reads = 2
    await visitor.ready()

    server.then(lambda channel: channel.reply(), grant)
    clock.seconds += 3600
    await until(lambda: len(server.joins) == 2)
    await server.joins[0].phx_close()
    await visitor.rebuilt(Reason.CLOSED)
    await visitor.ready()

    assert len(server.joins) == 3
    await until(lambda: len(server.sockets) == 1)
