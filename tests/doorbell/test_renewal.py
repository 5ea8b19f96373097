"""Working connections are replaced without a gap: because of a key's end, or of their age."""

from collections.abc import Callable

import jwt
from structlog.testing import capture_logs

from realtime_bridge.doorbell import Bell, Reason
from tests.doorbell.harness import Clock, DoorbellHarness, until
from tests.doorbell.scripted_server import EXPIRED, ScriptedRealtime, grant, refuse, status

Start = Callable[..., DoorbellHarness]
NOON = 1_800_000_000.0


def token(lives: float) -> str:
    """Return a JWT that expires this many seconds after NOON."""
    claims = {"role": "tma_bridge", "exp": int(NOON + lives)}
    return jwt.encode(claims, "x" * 32, algorithm="HS256")


async def test_a_key_is_changed_before_it_expires(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """If there is another key, the connection is renewed with it, and rings all the time."""
    now, first, second = Clock(NOON), token(3600), token(7200)
    harness = start_doorbell(key=first, now=now)
    harness.expected_reads = 1000  # near the end of a key it looks for another one all the time
    await harness.ready()

    harness.key = second
    now.seconds += 3600 - 59
    await harness.rebuilt(Reason.TOKEN)

    assert server.keys == [first, second]
    assert [channel.token for channel in server.joins] == [first, second]
    assert not [call for call in harness.observer.calls if call[0] == "down"]
    await harness.ready()
    await until(lambda: len(server.sockets) == 1)
    await server.channel.change()
    await until(lambda: harness.rings[-1] == "changes")


async def test_a_key_is_not_changed_before_its_time(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A key with an hour to live is kept, whatever other key there may be."""
    harness = start_doorbell(key=token(3600), now=Clock(NOON))
    await harness.ready()

    harness.key = token(7200)
    await server.channel.phx_error()
    await harness.rebuilt(Reason.CLOSED)

    assert harness.reasons == [Reason.CLOSED]


async def test_a_key_that_expires_without_another_is_an_error(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """The last minute of the only key is logged once; then every attempt reads the key again."""
    now, only = Clock(NOON), token(3600)
    with capture_logs() as logs:
        harness = start_doorbell(key=only, now=now)
        harness.expected_reads = 1000
        await harness.ready()
        now.seconds += 3600 - 30
        await until(lambda: [line for line in logs if line["log_level"] == "error"])
    server.handshake = status(401, '{"error":"Token has expired"}')
    await server.channel.system_error(EXPIRED, extension="system")
    await server.channel.phx_close()
    await harness.rebuilt(Reason.TOKEN, times=3)
    harness.key = token(7200)
    server.handshake = ScriptedRealtime().handshake
    await harness.ready()

    lines = [line for line in logs if line["event"] == "doorbell_key_expires"]
    assert [(line["log_level"], line["seconds_left"]) for line in lines] == [
        ("warning", 3600),
        ("error", 30),
    ]
    assert only not in str(logs)


async def test_a_key_that_cannot_be_read_any_more_is_kept(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """Failing to read another key does not hurt the connection that works."""
    now = Clock(NOON)
    harness = start_doorbell(key=token(3600), now=now)
    harness.expected_reads = 1000
    await harness.ready()

    harness.key = OSError("gone")
    now.seconds += 3600 - 30
    reads = harness.key_reads
    await until(lambda: harness.key_reads >= reads + 3)

    assert harness.doorbell.healthy
    assert harness.reasons == []


async def test_an_old_connection_is_replaced(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """An idle connection may have gone deaf unnoticed: it is replaced, without a gap."""
    clock = Clock()
    harness = start_doorbell(clock=clock)
    await harness.ready()

    clock.seconds += 3600
    await harness.rebuilt(Reason.REFRESH)

    assert harness.doorbell.healthy
    assert not [call for call in harness.observer.calls if call[0] == "down"]
    await until(lambda: harness.rings == ["ready"] * 4)
    await until(lambda: len(server.sockets) == 1)
    assert len(server.joins) == 2


async def test_a_renewal_that_fails_leaves_the_old_connection(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """If the server takes no new connections, the one that works is kept."""
    clock = Clock()
    harness = start_doorbell(clock=clock)
    harness.expected_reads = 2
    await harness.ready()

    with capture_logs() as logs:
        server.then(refuse("ConnectionRateLimitReached: Too many connected users"))
        clock.seconds += 3600
        await until(lambda: [line for line in logs if line["event"] == "doorbell_kept"])
    first = server.joins[0]
    await first.change()
    await until(lambda: "changes" in harness.rings)
    clock.seconds += 300
    await harness.rebuilt(Reason.REFRESH)

    assert len(server.joins) == 3
    assert harness.reasons == [Reason.REFRESH]


async def test_both_connections_ring_during_a_renewal(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """Until the new connection is ready, rings on both count."""
    clock = Clock()
    harness = start_doorbell(clock=clock)
    await harness.ready()

    server.then(lambda channel: channel.reply())
    clock.seconds += 3600
    await until(lambda: len(server.joins) == 2)
    old, new = server.joins
    await old.change()
    await until(lambda: "changes" in harness.rings)
    await new.broadcast()
    await until(lambda: "broadcast" in harness.rings)
    await new.system_ok()
    await harness.rebuilt(Reason.REFRESH)

    assert harness.state(Bell.CHANGES) == "ready"


async def test_a_connection_lost_during_its_renewal_is_rebuilt(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """If the old connection is lost before the new one is ready, a third one replaces both."""
    clock = Clock()
    harness = start_doorbell(clock=clock)
    harness.expected_reads = 2
    await harness.ready()

    server.then(lambda channel: channel.reply(), grant)
    clock.seconds += 3600
    await until(lambda: len(server.joins) == 2)
    await server.joins[0].phx_close()
    await harness.rebuilt(Reason.CLOSED)
    await harness.ready()

    assert len(server.joins) == 3
    await until(lambda: len(server.sockets) == 1)
