"""While the database is away nothing can ring; once it is back, the bells are in doubt."""

import asyncio

from realtime_bridge.doorbell import Bell, Reason
from tests.doorbell.scripted_server import UNABLE, grant, refuse_changes, starting
from tests.doorbell.simulation import BACK, TIMING, Simulation, now, simulate, until


def test_while_the_database_is_away_nothing_counts_as_ready() -> None:
    """The server does not report it; the bridge's own calls do."""

    async def scenario(sim: Simulation) -> None:
        sim.doorbell.database(away=True)
        sim.doorbell.database(away=True)
        away = [sim.state(bell) for bell in Bell]
        healthy = sim.doorbell.healthy
        for _ in range(10):
            sim.doorbell.expect("tma_events", [now()])
            await asyncio.sleep(3.0)
        sim.doorbell.database(away=False)
        back = [sim.state(bell) for bell in Bell]
        sim.doorbell.expect("tma_events", [now() + 4.9 + TIMING.skew])
        await asyncio.sleep(30.0)

        assert away == ["away", "away"]
        assert not healthy
        assert back == ["ready", "ready"]
        assert len(sim.server.joins) == 1, "it was away for half a minute only"

    sim = simulate(scenario)

    assert sim.observer.calls[2:] == [
        ("down", Reason.AWAY),
        ("ready", Bell.BROADCAST),
        ("ready", Bell.CHANGES),
    ]
    assert sim.alarms == []


def test_after_a_long_absence_the_changes_are_asked_for_anew() -> None:
    """The server may have stopped polling: changes do not count until they are subscribed anew."""

    async def scenario(sim: Simulation) -> None:
        sim.doorbell.database(away=True)
        await asyncio.sleep(61.0)
        sim.deafen(Bell.CHANGES)
        sim.server.then(starting)
        sim.doorbell.database(away=False)
        back = now()
        states = [sim.state(bell) for bell in Bell]
        await asyncio.sleep(2.0)
        still = [sim.state(bell) for bell in Bell]
        await sim.ready()

        assert states == still == ["away", "ready"]
        assert now() - back <= 5.0 + BACK, "the server held its first answer back for five"
        sim.ring()
        await until(lambda: sim.rings.count("changes") == 1, within=1.0)

    sim = simulate(scenario)

    assert sim.reasons == [Reason.AWAY]
    assert ("down", Reason.AWAY) in sim.observer.calls


def test_a_ring_proves_that_the_changes_are_back() -> None:
    """If the server never stopped listening, the old connection counts once it rings."""

    async def scenario(sim: Simulation) -> None:
        sim.server.answer = starting
        sim.doorbell.database(away=True)
        await asyncio.sleep(61.0)
        sim.doorbell.database(away=False)
        before = sim.state(Bell.CHANGES)
        sim.ring()
        await asyncio.sleep(1.0)

        assert (before, sim.state(Bell.CHANGES)) == ("away", "ready")

    simulate(scenario)


def test_what_was_refused_while_the_database_was_away_is_asked_for_when_it_is_back() -> None:
    """The outage may have caused the refusal."""

    async def scenario(sim: Simulation) -> None:
        sim.doorbell.database(away=True)
        sim.server.answer = refuse_changes
        await sim.server.channel.system_error(UNABLE)
        await asyncio.sleep(200.0)
        refused = sim.state(Bell.CHANGES)
        sim.server.answer = grant
        sim.doorbell.database(away=False)
        back = now()
        await sim.ready()

        assert refused == "refused"
        assert now() - back <= BACK

    simulate(scenario)


def test_connections_made_while_the_database_is_away_do_not_count_either() -> None:
    """A bell that becomes ready meanwhile is reported when the database is back."""

    async def scenario(sim: Simulation) -> None:
        sim.doorbell.database(away=True)
        await sim.server.channel.phx_close()
        await until(lambda: len(sim.server.joins) == 2, within=5.0)
        await asyncio.sleep(2.0)
        away = [sim.state(bell) for bell in Bell]
        told = len(sim.observer.calls)
        sim.doorbell.database(away=False)

        assert away == ["away", "away"]
        assert sim.observer.calls[told:] == [("ready", Bell.BROADCAST), ("ready", Bell.CHANGES)]

    simulate(scenario)
