"""One sweep for all lanes."""

import asyncio

import pytest

from realtime_bridge.model import Recovered, Sent
from realtime_bridge.pump import Pump
from realtime_bridge.rpc import Unavailable
from realtime_bridge.sweep import Follower, Leader
from tests.unit.test_pump import MemoryQueue, Quiet, Row, send
from tests.unit.virtual_time import in_virtual_time

KEEP = 45.0
EVENTS, PLANS = "tma_events", "plan_requests"


class Database:
    """Answers sweep_tma, and keeps what it was asked."""

    def __init__(self):
        self.calls = []
        self.says = {EVENTS: {}, PLANS: {}}
        self.down = False

    async def call(self, function, arguments):
        self.calls.append((function, arguments))
        await asyncio.sleep(0.01)
        if self.down:
            raise Unavailable("no answer")
        return {lane: dict(said) for lane, said in self.says.items()}


class Lanes:
    """The lane of events and one that follows it."""

    def __init__(self):
        self.database = Database()
        self.events, self.plans = MemoryQueue(), MemoryQueue()
        self.wakes = []
        clock = asyncio.get_running_loop().time
        self.leader = Leader(
            self.events,
            self.database,
            lane=EVENTS,
            lease=120.0,
            resend_uncertain=True,
            clock=clock,
        )
        self.follower = Follower(
            self.plans, wake=lambda: self.wakes.append(clock()), keep=lambda: KEEP, clock=clock
        )
        self.leader.lead(PLANS, 75.0, self.follower)

    def pump(self, lane, queue):
        return Pump(
            lane,
            queue,
            send,
            Quiet(),
            slots=4,
            interval=lambda: 30.0,
            lease=60.0,
            clock=asyncio.get_running_loop().time,
        )


@pytest.fixture
def told():
    """Run a scenario with two lanes over a database in memory."""

    def run(scenario):
        async def all_of_it():
            await scenario(Lanes())

        in_virtual_time(all_of_it())

    return run


def test_one_call_asks_for_every_lane(told):
    """With the lease of each; the follower then need not ask."""

    async def scenario(lanes):
        lanes.database.says = {EVENTS: {"returned": 1}, PLANS: {"returned": 2}}

        assert await lanes.leader.recover() == Recovered(returned=1)
        assert await lanes.follower.recover() == Recovered(returned=2)
        assert lanes.plans.sweeps == 0
        assert lanes.database.calls == [
            (
                "sweep_tma",
                {
                    "p_lease": "120.0 seconds",
                    "p_resend_uncertain": True,
                    "p_request_leases": {PLANS: 75.0},
                },
            )
        ]

    told(scenario)


def test_a_follower_that_was_told_nothing_sweeps_itself(told):
    """Its own table only: rows of events are their own lane's to take back."""

    async def scenario(lanes):
        await lanes.follower.recover()

        assert lanes.plans.sweeps == 1
        assert lanes.database.calls == []

    told(scenario)


def test_what_was_told_is_used_once(told):
    """The next time the follower asks."""

    async def scenario(lanes):
        await lanes.leader.recover()
        await lanes.follower.recover()
        await lanes.follower.recover()

        assert lanes.plans.sweeps == 1

    told(scenario)


def test_what_is_old_is_not_used(told):
    """A leader that does not sweep any more must not keep the others from it."""

    async def scenario(lanes):
        await lanes.leader.recover()
        await asyncio.sleep(KEEP + 1)
        await lanes.follower.recover()

        assert lanes.plans.sweeps == 1

    told(scenario)


def test_time_goes_on_for_what_was_told(told):
    """What was due in ten seconds is due in three, seven seconds later; never before now."""

    async def scenario(lanes):
        for due, expected in ((10.0, 3.0), (5.0, 0.0)):
            lanes.database.says[PLANS] = {"next_due_seconds": due}
            await lanes.leader.recover()
            await asyncio.sleep(7)

            recovered = await lanes.follower.recover()
            assert recovered.next_due_seconds == pytest.approx(expected, abs=0.1)

    told(scenario)


@pytest.mark.parametrize("act", ["claim", "settle"])
@pytest.mark.parametrize("when", ["after", "during"])
def test_what_was_told_before_the_lane_moved_is_not_used(told, act, when):
    """A row that was settled for a retry may be due before all others."""

    async def scenario(lanes):
        asking = asyncio.create_task(lanes.leader.recover())
        await (asyncio.sleep(0) if when == "during" else asking)
        queue = lanes.follower
        await (queue.claim(1) if act == "claim" else queue.settle(Row(1), Sent(1)))
        await asking
        await lanes.follower.recover()

        assert lanes.plans.sweeps == 1

    told(scenario)


def test_rows_that_were_taken_back_are_reported_though_what_was_told_is_old(told):
    """Counts go to the log and the metrics, and must not get lost."""

    async def scenario(lanes):
        lanes.database.says[PLANS] = {"returned": 2}
        await lanes.leader.recover()
        await lanes.leader.recover()
        await lanes.follower.claim(1)
        lanes.plans.fail = 1
        with pytest.raises(Unavailable):
            await lanes.follower.recover()

        assert await lanes.follower.recover() == Recovered(returned=4)
        assert await lanes.follower.recover() == Recovered()

    told(scenario)


@pytest.mark.parametrize(("due", "woken"), [(0, 1), (3.0, 0), (None, 0)])
def test_a_follower_is_woken_when_something_is_due_now(told, due, woken):
    """It need not wait for the time of its own sweep."""

    async def scenario(lanes):
        lanes.database.says[PLANS] = {"next_due_seconds": due}
        await lanes.leader.recover()

        assert len(lanes.wakes) == woken

    told(scenario)


def test_when_the_database_is_away_the_lane_that_asked_is_told(told):
    """And nobody else is told anything."""

    async def scenario(lanes):
        lanes.database.down = True
        with pytest.raises(Unavailable):
            await lanes.leader.recover()
        await lanes.follower.recover()

        assert lanes.plans.sweeps == 1

    told(scenario)


def test_a_lane_that_the_sweep_leaves_out_sweeps_itself(told):
    """And hears why, though it was told before; what was said of the others counts."""

    async def scenario(lanes):
        await lanes.leader.recover()
        await lanes.follower.recover()
        lanes.database.says = {EVENTS: {"returned": 1}}

        assert await lanes.leader.recover() == Recovered(returned=1)
        await lanes.follower.recover()
        assert lanes.plans.sweeps == 1

    told(scenario)


def test_a_sweep_that_says_nothing_of_events_is_no_answer(told):
    """Nobody else would take those rows back."""

    async def scenario(lanes):
        lanes.database.says = {PLANS: {}}

        with pytest.raises(Unavailable, match="tma_events"):
            await lanes.leader.recover()

    told(scenario)


@pytest.mark.parametrize("lane", ["leader", "follower"])
def test_all_else_goes_to_the_lanes_own_queue(told, lane):
    """Claims, outcomes and claims handed back."""

    async def scenario(lanes):
        queue = getattr(lanes, lane)
        own = lanes.events if lane == "leader" else lanes.plans
        own.rows = [Row(1), Row(2)]

        rows = await queue.claim(2)
        assert await queue.settle(rows[0], Sent(7))
        await queue.release(rows[1:])

        assert own.settled == [(1, Sent(7))]
        assert own.released == [2]
        assert lanes.database.calls == []

    told(scenario)


@pytest.mark.parametrize("apart", [0.0, 7.0, 20.0, 29.9])
def test_two_idle_lanes_make_two_calls_a_minute(told, apart):
    """At a sweep of 30 seconds, whenever either of them began."""

    async def scenario(lanes):
        pumps = [lanes.pump(EVENTS, lanes.leader), lanes.pump(PLANS, lanes.follower)]
        running = [asyncio.create_task(pumps[0].run())]
        await asyncio.sleep(apart)
        running.append(asyncio.create_task(pumps[1].run()))

        def calls():
            return len(lanes.database.calls) + sum(
                queue.sweeps + len(queue.claims) for queue in (lanes.events, lanes.plans)
            )

        await asyncio.sleep(60)
        before = calls()
        await asyncio.sleep(600)
        assert calls() - before <= 20
        for pump in pumps:
            pump.stop()
        await asyncio.gather(*running)

    told(scenario)
