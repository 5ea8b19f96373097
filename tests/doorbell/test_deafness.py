"""Joined, heartbeats answered, and no ring: the sweep or the other bell tells."""

from collections.abc import Callable

from structlog.testing import capture_logs

from realtime_bridge.doorbell import Bell, Reason
from tests.doorbell.scripted import ScriptedRealtime
from tests.doorbell.visitor import Visitor, until

Visit = Callable[..., Visitor]


async def test_rows_that_nothing_rang_for_rebuild_the_client(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """Past the threshold, rows that the sweep found first are taken for deafness."""
    visitor = visit()
    await visitor.ready()

    visitor.doorbell.missed("tma_events", 1)
    visitor.doorbell.missed("tma_events", 2)
    await visitor.rebuilt(Reason.DEAF)
    await visitor.ready()

    assert ("down", Reason.DEAF) in visitor.told.all
    assert visitor.doorbell.status.last_error == "3 rows were there and nothing rang"
    assert visitor.rings.count("ready") == 4
    await until(lambda: len(server.sockets) == 1)


async def test_a_doorbell_deaf_again_is_not_called_healthy(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """If building anew did not help, nothing counts as ready until it rings."""
    visitor = visit()
    await visitor.ready()

    visitor.doorbell.missed("tma_events", 3)
    await visitor.rebuilt(Reason.DEAF)
    await visitor.ready()
    visitor.doorbell.missed("tma_events", 3)
    await until(lambda: not visitor.doorbell.healthy)
    deaf = [visitor.state(bell) for bell in Bell]
    visitor.doorbell.missed("tma_events", 100)  # nobody claims to hear: no news
    await server.channel.broadcast()
    await visitor.ready(Bell.BROADCAST)

    assert deaf == ["deaf", "deaf"]
    assert visitor.told.all.count(("down", Reason.DEAF)) == 2
    assert {("deaf", bell) for bell in Bell} <= set(visitor.told.all)
    assert visitor.reasons == [Reason.DEAF], "a second rebuild at once would not help either"
    assert visitor.told.all[-1] == ("ready", Bell.BROADCAST)
    assert visitor.state(Bell.CHANGES) == "deaf"


async def test_a_deaf_doorbell_is_rebuilt_from_time_to_time(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """What did not help at once may help later; it is ready again only when it has rung."""
    visitor = visit(limits={"ask_again": 0.2})
    visitor.expected_reads = 2  # one more may be on its way in the end
    await visitor.ready()
    visitor.doorbell.missed("tma_events", 3)
    await visitor.rebuilt(Reason.DEAF)
    await visitor.ready()
    visitor.doorbell.missed("tma_events", 3)

    await visitor.rebuilt(Reason.RETRY, times=2)
    unproven = visitor.doorbell.healthy
    announced = [what for what in visitor.told.all if what[0] == "ready"]
    await server.channel.change()
    await server.channel.broadcast()
    await visitor.ready()

    assert not unproven
    assert len(announced) == 4, "two bells, twice: not again until they rang"


async def test_rows_found_while_nothing_is_ready_are_no_misses(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """Who does not call itself healthy is not deaf when it does not ring."""
    visitor = visit()
    visitor.doorbell.missed("tma_events", 100)
    await visitor.ready()

    looks = await look_often(visitor, seconds=0.2)

    assert looks
    assert visitor.reasons == []


async def test_a_late_ring_takes_the_report_back(server: ScriptedRealtime, visit: Visit) -> None:
    """A sweep that was a moment faster than the bell is not taken for deafness."""
    visitor = visit(limits={"deaf_grace": 0.3})
    await visitor.ready()

    visitor.doorbell.missed("tma_events", 3)
    await server.channel.change()
    await until(lambda: "changes" in visitor.rings)
    visitor.doorbell.missed("tma_events", 2)
    looks = await look_often(visitor, seconds=0.5)

    assert looks
    assert visitor.reasons == []


async def test_a_ring_for_one_table_says_nothing_about_another(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """Rows missed in one table are not excused by a ring for the other."""
    visitor = visit(tables=["tma_events", "plan_requests"], limits={"deaf_grace": 0.3})
    await visitor.ready()

    visitor.doorbell.missed("plan_requests", 3)
    await server.channel.change("tma_events")
    await server.channel.broadcast("tma_events")

    await visitor.rebuilt(Reason.DEAF)


async def test_a_silent_bell_is_rebuilt_beside_the_one_that_rings(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """One bell silent while the other rings: rebuilt without a gap, then no longer counted."""
    visitor = visit(limits={"silent_rings": 5})
    await visitor.ready()
    with capture_logs() as logs:
        await ring(server, visitor, Bell.BROADCAST, times=5)
        await visitor.rebuilt(Reason.SILENT)
        again = [visitor.state(bell) for bell in Bell]
        await ring(server, visitor, Bell.BROADCAST, times=5)
        await until(lambda: visitor.state(Bell.CHANGES) == "deaf")

    assert again == ["ready", "ready"], "it gets a second chance"
    assert not [what for what in visitor.told.all if what[0] == "down"]
    assert ("deaf", Bell.CHANGES) in visitor.told.all
    assert visitor.state(Bell.BROADCAST) == "ready"
    assert [line["log_level"] for line in logs if line["event"] == "doorbell_deaf"] == ["error"]


async def test_a_silent_broadcast_is_noticed_as_well(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """A database without the trigger: the broadcast joins and never rings."""
    visitor = visit(limits={"silent_rings": 5})
    await visitor.ready()

    await ring(server, visitor, Bell.CHANGES, times=5)
    await visitor.rebuilt(Reason.SILENT)
    await ring(server, visitor, Bell.CHANGES, times=5)
    await until(lambda: visitor.state(Bell.BROADCAST) == "deaf")
    await server.channel.broadcast()
    await visitor.ready()

    assert visitor.told.all[-1] == ("ready", Bell.BROADCAST)


async def test_a_bulk_insert_is_one_occasion(server: ScriptedRealtime, visit: Visit) -> None:
    """Many frames of one statement on one bell do not make the other one look silent."""
    visitor = visit(limits={"silent_rings": 5, "ring_gap": 60.0})
    await visitor.ready()

    await ring(server, visitor, Bell.CHANGES, times=50)
    looks = await look_often(visitor, seconds=0.1)

    assert looks
    assert visitor.reasons == []


async def ring(server: ScriptedRealtime, visitor: Visitor, bell: Bell, times: int) -> None:
    """Ring so many times, and wait until it was heard."""
    before = visitor.rings.count(bell.value)
    channel = server.channel
    for _ in range(times):
        await (channel.change() if bell is Bell.CHANGES else channel.broadcast())
    await until(lambda: visitor.rings.count(bell.value) >= before + times)


async def look_often(visitor: Visitor, seconds: float) -> int:
    """Let the supervisor look many times; return how often it did."""
    looks = 0
    (session,) = visitor.doorbell._sessions
    look = session.look

    def counted() -> object:
        nonlocal looks
        looks += 1
        return look()

    session.look = counted
    wanted = int(seconds / 0.02) // 2
    await until(lambda: looks >= wanted)
    return looks
