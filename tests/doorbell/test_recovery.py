"""Back quickly: after an outage, and after something was fixed."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from realtime_bridge.doorbell import Bell, Reason
from tests.doorbell.scripted_server import (
    UNABLE,
    Channel,
    grant,
    never,
    refuse_changes,
    refuse_private,
    starting,
    status,
)
from tests.doorbell.simulation import BACK, TIMING, Simulation, now, simulate, until

Outage = Callable[[Simulation, float], Awaitable[None]]


async def refuse_slowly(channel: Channel) -> None:
    """Refuse the changes after three seconds."""
    await asyncio.sleep(3.0)
    await refuse_changes(channel)


async def port_closed(sim: Simulation, seconds: float) -> None:
    """The server is killed, and started again."""
    await sim.server.kill()
    await asyncio.sleep(seconds)
    await sim.server.start()


async def bad_gateway(sim: Simulation, seconds: float) -> None:
    """A gateway answers in its place."""
    sim.server.handshake = status(502)
    for socket in list(sim.server.sockets):
        socket.transport.abort()
    await asyncio.sleep(seconds)
    sim.server.handshake = lambda _: asyncio.sleep(0)


async def black_hole(sim: Simulation, seconds: float) -> None:
    """Connections are accepted and never answered; those begun meanwhile hang for ever."""
    sim.server.handshake = never
    for socket in list(sim.server.sockets):
        socket.transport.abort()
    await asyncio.sleep(seconds)
    sim.server.handshake = lambda _: asyncio.sleep(0)


async def no_database(sim: Simulation, seconds: float) -> None:
    """The server is there and refuses each join after five seconds."""
    sim.server.answer = starting
    await sim.server.channel.phx_close()
    await asyncio.sleep(seconds)
    sim.server.answer = grant


@pytest.mark.parametrize("outage", [port_closed, bad_gateway, black_hole, no_database])
@pytest.mark.parametrize("seconds", [3.0, 61.3, 600.0])
def test_both_bells_are_back_within_five_seconds(outage: Outage, seconds: float) -> None:
    """However long the server was away, and whatever answered meanwhile."""

    async def scenario(sim: Simulation) -> None:
        await asyncio.sleep(TIMING.steady + 1)
        await outage(sim, seconds)
        back = now()
        await sim.ready()

        assert now() - back <= BACK
        await until(lambda: len(sim.server.sockets) == 1, within=60.0)
        assert sim.server.attempts <= 3 + seconds / 1.5, "that would be hammering"

    simulate(scenario)


@pytest.mark.parametrize("outage", [port_closed, bad_gateway, black_hole, no_database])
def test_an_outage_of_ten_minutes_is_a_few_lines(outage: Outage) -> None:
    """One line at once, counts while it lasts, and its duration at the end."""

    async def scenario(sim: Simulation) -> None:
        await asyncio.sleep(TIMING.steady + 1)
        sim.logs.clear()
        await outage(sim, 600.0)
        await sim.ready()
        await until(lambda: any("lasted_s" in line for line in sim.logs), within=10.0)

        lines = [line for line in sim.logs if line["log_level"] != "debug"]
        assert len(lines) <= 10, lines
        assert lines[0]["event"] == "doorbell_lost"
        (end,) = (line for line in lines if "lasted_s" in line)
        assert 590 <= end["lasted_s"] <= 620

    simulate(scenario)


@pytest.mark.parametrize("answer", [refuse_changes, refuse_private])
def test_a_refused_bell_is_asked_for_soon_and_then_every_minute(
    answer: Callable[[Channel], Awaitable[None]],
) -> None:
    """The first retries come quickly, in case it takes only seconds; none disturbs anything."""

    async def scenario(sim: Simulation) -> None:
        sim.server.answer = answer
        await sim.server.channel.phx_close()
        await until(lambda: "refused" in [sim.state(bell) for bell in Bell], within=10.0)
        refused, joins = now(), len(sim.server.joins)
        gaps = []
        for _ in range(6):
            last = now()
            await until(lambda joins=joins: len(sim.server.joins) > joins, within=70.0, step=0.5)
            gaps.append(now() - last)
            joins = len(sim.server.joins)
        healthy = sim.doorbell.healthy
        sim.server.answer = grant
        await sim.ready()

        assert healthy
        assert now() - refused < 500
        assert max(gaps) <= TIMING.longest_retry + 2 * TIMING.look_every
        assert sum(gaps[:2]) <= 12.0
        assert sum(gaps[-2:]) >= 100.0

    sim = simulate(scenario)

    assert len(sim.lines("doorbell_refused")) == 1
    assert len(sim.lines("doorbell_renewing", "doorbell_kept")) == sum(
        line["log_level"] == "debug" for line in sim.lines("doorbell_renewing", "doorbell_kept")
    ), "what is asked every minute is no news"


def test_a_ring_for_the_bells_themselves_asks_for_missing_ones() -> None:
    """`select bridge.ring('bells')` after a migration: the bell that works passes it on."""

    async def scenario(sim: Simulation) -> None:
        sim.server.answer = refuse_changes
        await sim.server.channel.system_error(UNABLE)
        await asyncio.sleep(400.0)
        refused = sim.state(Bell.CHANGES)
        sim.server.answer = grant
        await until(
            lambda: sim.doorbell._clock() - sim.doorbell._renewals.asked_for_all > 6.0, within=60.0
        )
        fixed = now()
        woken = sim.wakes
        await sim.broadcast("bells")
        await asyncio.sleep(0.2)
        still = sim.wakes
        await sim.ready()

        assert refused == "refused"
        assert now() - fixed <= 2.0
        assert still == woken, "it is not about rows"

    simulate(scenario)


def test_a_renewal_that_was_asked_for_is_begun_at_once() -> None:
    """Beside the working connection, with the current key, and only once."""

    async def scenario(sim: Simulation) -> None:
        await asyncio.sleep(10.3)
        asked = now()
        sim.doorbell.renew()
        await until(lambda: sim.reasons, within=1.0)
        took = now() - asked
        await asyncio.sleep(30.0)

        assert took < 0.2
        assert len(sim.server.joins) == 2

    sim = simulate(scenario)

    assert sim.reasons == [Reason.TOKEN]
    assert not [call for call in sim.observer.calls if call[0] == "down"]


def test_a_renewal_that_fails_is_tried_again_at_a_distance() -> None:
    """The old connection is kept meanwhile; a server that says no is asked less often."""

    async def scenario(sim: Simulation) -> None:
        sim.server.handshake = status(503)
        sim.doorbell.renew()
        await asyncio.sleep(30.0)
        away = sim.server.attempts - 1
        sim.server.handshake = status(401)
        await asyncio.sleep(60.0)
        refused = sim.server.attempts - 1 - away
        healthy = sim.doorbell.healthy
        sim.server.handshake = lambda _: asyncio.sleep(0)
        await until(lambda: sim.reasons, within=TIMING.refused_pause + 2.0)

        assert healthy
        assert 7 <= away <= 11
        assert 3 <= refused <= 5

    sim = simulate(scenario)

    assert sim.reasons == [Reason.TOKEN]


def test_a_renewal_cuts_the_pause_short() -> None:
    """A key that replaces a refused one is used at once, not after a long pause."""

    async def scenario(sim: Simulation) -> None:
        sim.server.handshake = status(401)
        await sim.server.channel.phx_close()
        await asyncio.sleep(120.0)
        await until(lambda: sim.doorbell._backoff.pause > 5.0, within=60.0)
        attempts = sim.server.attempts
        await until(lambda: sim.server.attempts > attempts, within=TIMING.refused_pause + 1.0)
        await asyncio.sleep(1.0)
        sim.server.handshake = lambda _: asyncio.sleep(0)
        replaced = now()
        sim.doorbell.renew()
        await sim.ready()

        assert now() - replaced <= 1.5
        await asyncio.sleep(10.0)
        assert len(sim.server.joins) == 2, "what was begun afterwards is what was asked for"

    simulate(scenario)


def test_a_renewal_in_which_a_bell_is_refused_asks_no_more_than_usual() -> None:
    """A refusal is an answer: the connection with both bells is kept."""

    async def scenario(sim: Simulation) -> None:
        sim.server.answer = refuse_private
        sim.doorbell.renew()
        await asyncio.sleep(60.0)

        assert len(sim.server.joins) == 2
        assert [sim.state(bell) for bell in Bell] == ["ready", "ready"]

    simulate(scenario)


def test_a_refusal_answers_only_what_was_asked_before() -> None:
    """A key that changes while a bell is asked for with the old key is not forgotten."""

    async def scenario(sim: Simulation) -> None:
        sim.server.answer = refuse_changes
        await sim.server.channel.system_error(UNABLE)
        await until(lambda: sim.state(Bell.BROADCAST) == "ready", within=10.0)
        sim.server.answer = refuse_slowly
        joins = len(sim.server.joins)
        await until(lambda: len(sim.server.joins) > joins, within=30.0)
        sim.doorbell.renew()
        await asyncio.sleep(1.0)
        sim.server.answer = grant
        await sim.ready()

        assert len(sim.server.joins) == joins + 2

    simulate(scenario)


def test_a_renewal_does_not_shorten_later_pauses() -> None:
    """A request that was fulfilled does not skip the pause after the next outage."""

    async def scenario(sim: Simulation) -> None:
        sim.doorbell.renew()
        await asyncio.sleep(10.0)
        dialled = sim.server.attempts
        await sim.server.kill()
        await sim.server.start()
        lost = now()
        await until(lambda: sim.server.attempts > dialled, within=5.0, step=0.01)

        assert now() - lost >= 0.5

    simulate(scenario)
