"""Joined and heartbeats answered, but no rings: claimed rows reveal it. In virtual time."""

import asyncio
from math import inf

import pytest

from realtime_bridge.doorbell import Bell, Reason
from tests.doorbell.simulation import SWEEP, TIMING, Simulation, now, simulate, until

BROKEN = ("doorbell_silent", "doorbell_renewing", "doorbell_deaf")
TRAFFIC = pytest.mark.parametrize(
    ("every", "busy"),
    [(60.0, False), (1.0, False), (1.0, True), (0.01, True)],
    ids=["1/min", "1/s", "1/s, all claimed as backlog", "100/s"],
)
# Long enough for a few rows, and no longer: a hundred rows a second are work for the tests, too.
BEFORE, AFTER = 1.1, 4.0
# A row is known when it is claimed; then its ring has its time, and the doorbell looks once.
SOON = 30.0


@TRAFFIC
def test_a_poller_that_died_is_noticed_and_healed(*, every: float, busy: bool) -> None:
    """The only bell is dead on one connection: a successor is built beside it, and rings."""

    async def scenario(sim: Simulation) -> None:
        await sim.insert_every(every, seconds=max(12.0, BEFORE * every))
        sim.deafen(Bell.CHANGES)
        first_row = now()
        inserting = asyncio.create_task(sim.insert_every(every, seconds=max(60.0, AFTER * every)))
        noticed = await until(lambda: sim.reasons, within=40.0)
        await inserting

        assert noticed - first_row <= (10.0 if busy else SOON)
        assert sim.state(Bell.CHANGES) == "ready"

    sim = simulate(scenario, mode="changes", busy=busy)

    assert sim.reasons == [Reason.DEAF]
    assert [line["event"] for line in sim.lines(*BROKEN)] == list(BROKEN[:2])
    assert not [call for call in sim.observer.calls if call[0] in {"down", "deaf"}]
    (line,) = sim.lines("doorbell_silent")
    assert (line["bell"], line["table"], line["other_bell"]) == (
        "changes",
        "tma_events",
        "not there",
    )
    assert line["rows"] >= 1
    assert line["last_ring_s_ago"] <= line["first_row_s_ago"] + TIMING.skew + max(every, 1.0)


@TRAFFIC
@pytest.mark.parametrize("dead", Bell)
def test_a_bell_that_stays_dead_does_not_count(*, every: float, busy: bool, dead: Bell) -> None:
    """One of two bells is dead for good: noticed in time, then deaf until it rings."""

    async def scenario(sim: Simulation) -> None:
        await sim.insert_every(every, seconds=max(12.0, BEFORE * every))
        sim.latency[dead] = inf
        first_row = now()
        inserting = asyncio.create_task(sim.insert_every(every, seconds=max(60.0, AFTER * every)))
        noticed = await until(lambda: sim.lines("doorbell_silent"), within=60.0)
        await until(lambda: sim.state(dead) == "deaf", within=200.0)
        deaf = now()
        await inserting
        healthy = sim.doorbell.healthy
        sim.latency[dead] = 0.1
        await sim.insert_every(1.0, seconds=3.0)

        assert noticed - first_row <= 12.5
        assert deaf - first_row <= (2.5 if every > 1 else 0.5) * 60.0
        assert healthy, "the other bell rings"
        assert sim.state(dead) == "ready"

    sim = simulate(scenario, busy=busy)

    (line,) = sim.lines("doorbell_deaf")
    assert (line["log_level"], line["bell"], line["other_bell"]) == ("error", dead.value, "rang")
    assert "the other bell rang" in line["hint"]
    assert ("deaf", dead) in sim.observer.calls
    assert sim.observer.calls[-1] == ("ready", dead)
    assert not [call for call in sim.observer.calls if call[0] == "down"]
    assert max(sim.pickups) < 1.5


def test_a_table_that_rings_nothing_makes_the_bridge_poll() -> None:
    """No trigger on the table: both bells are renewed once, then neither counts."""

    async def scenario(sim: Simulation) -> None:
        for _ in range(4):
            sim.insert(rings=False)
            await asyncio.sleep(SWEEP)
        polled = sim.doorbell.healthy
        sim.ring()
        await asyncio.sleep(1.0)

        assert not polled
        assert sim.doorbell.healthy

    sim = simulate(scenario)

    assert ("down", Reason.DEAF) in sim.observer.calls
    assert sim.reasons[0] is Reason.DEAF
    assert {line["bell"] for line in sim.lines("doorbell_deaf")} == set(Bell)
    for line in sim.lines("doorbell_deaf"):
        assert line["other_bell"] == "silent"
        assert "trigger of tma_events" in line["hint"]


def test_a_table_without_a_trigger_is_told_from_one_with() -> None:
    """Rings for one table prove nothing about another; the hint names the silent table."""

    async def scenario(sim: Simulation) -> None:
        for _ in range(130):
            sim.ring()
            sim.doorbell.expect("plan_requests", [now()])
            await asyncio.sleep(1.0)

    sim = simulate(scenario, tables=("tma_events", "plan_requests"))

    lines = sim.lines("doorbell_deaf")
    assert {line["table"] for line in lines} == {"plan_requests"}
    assert all("rang for another table" in line["hint"] for line in lines)
    assert len(lines) == 2, "once for each bell"


async def thousand_scheduled(sim: Simulation) -> None:
    """Rows due in more than a minute do not ring; those due sooner do."""
    for number in range(1000):
        sim.insert(due=False, rings=number % 20 == 0)
        await asyncio.sleep(0.05)


async def flood(sim: Simulation) -> None:
    """One statement of 10,000 rows rings once; changes are several seconds late."""
    sim.latency[Bell.CHANGES] = 7.0
    for _ in range(10_000):
        sim.insert(rings=False)
    sim.ring()
    await sim.insert_every(1.0, seconds=30.0)
    sim.latency[Bell.CHANGES] = 0.5
    await sim.insert_every(1.0, seconds=30.0)


async def rings_without_rows(sim: Simulation) -> None:
    """Releases, an operator's retries and the probes of `check` ring without a new row."""
    for _ in range(100):
        sim.ring()
        await asyncio.sleep(0.5)


async def long_transactions(sim: Simulation) -> None:
    """A row of a long transaction is committed just before a sweep finds it."""
    for _ in range(8):
        await asyncio.sleep(40.3)
        sim.insert(age=20.0)
        sim.sweep()


async def clock_ahead(sim: Simulation) -> None:
    """The writer set `created_at` by its own clock, two seconds ahead."""
    for _ in range(5):
        sim.ring()
        await asyncio.sleep(3.0)
        sim.insert(age=1.0, rings=False)
        sim.sweep()
        await asyncio.sleep(12.0)


async def frozen_replica(sim: Simulation) -> None:
    """The process is stopped for 20 s (SIGSTOP) while rings are on their way."""
    for _ in range(5):
        await asyncio.sleep(40.3)
        sim.insert()
        sim.sweep()
        await asyncio.sleep(0.1)
        asyncio.get_running_loop()._now += 20.0


async def nobody_was_ready(sim: Simulation) -> None:
    """Rows inserted while the server was away are found without a ring."""
    await sim.server.kill()
    await sim.insert_every(1.0, seconds=20.0)
    await sim.server.start()
    await sim.ready()
    sim.sweep()
    await asyncio.sleep(20.0)
    sim.logs[:] = [line for line in sim.logs if line["event"] != "doorbell_lost"]


async def steady(sim: Simulation) -> None:
    """A hundred rows a second, and all of them ring."""
    await sim.insert_every(0.01, seconds=10.0)


@pytest.mark.parametrize("mode", ["both", "changes"])
@pytest.mark.parametrize(
    "scenario",
    [
        thousand_scheduled,
        flood,
        rings_without_rows,
        long_transactions,
        clock_ahead,
        frozen_replica,
        nobody_was_ready,
        steady,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_no_false_alarm(scenario, mode) -> None:
    """What only looks like silence is not mistaken for it."""
    sim = simulate(scenario, mode=mode)

    assert sim.alarms == []
    assert Reason.DEAF not in sim.reasons
    assert sim.doorbell.status.last_error is None or scenario is nobody_was_ready


def test_rings_that_are_seconds_late_are_rings() -> None:
    """The only bell is eighteen seconds late: it may be renewed, but is never called deaf."""

    async def scenario(sim: Simulation) -> None:
        await sim.insert_every(1.0, seconds=10.0)
        sim.latency[Bell.CHANGES] = 18.0
        await sim.insert_every(1.0, seconds=120.0)

    sim = simulate(scenario, mode="changes", busy=True)

    assert not sim.lines("doorbell_deaf")
    assert len(sim.lines("doorbell_silent")) <= 1


def test_a_deaf_bell_is_asked_for_again_every_minute() -> None:
    """What did not help at once may help later; the bell is ready only once it has rung."""

    async def scenario(sim: Simulation) -> None:
        sim.latency[Bell.CHANGES] = inf
        await sim.insert_every(1.0, seconds=60.0)
        joins = len(sim.server.joins)
        await asyncio.sleep(600.0)
        again = len(sim.server.joins) - joins

        assert sim.state(Bell.CHANGES) == "deaf"
        assert 10 <= again <= 13

    simulate(scenario)
