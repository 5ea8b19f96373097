"""One sweep for all lanes."""

import asyncio

import pytest

from realtime_bridge.database.rpc import Refused, Unavailable
from realtime_bridge.model import Recovered, Wake
from realtime_bridge.outcomes import Retry, Sent
from realtime_bridge.worker.common_sweep import CommonSweep
from realtime_bridge.worker.pump import Pump
from realtime_bridge.worker.sweeper import LOOK_AHEAD_SECONDS, Sweeper
from tests.unit.test_pump import MemoryQueue, Quiet, Row, send, until
from tests.unit.virtual_time import in_virtual_time

INTERVAL = 30.0
EVENTS, PLANS = "tma_events", "plan_requests"


class Database:
    """Answers sweep_tma, and keeps what it was asked."""

    def __init__(self):
        self.calls = []
        self.says = {EVENTS: {}, PLANS: {}}
        self.fails = []  # what it raises instead, in order
        self.seconds = 0.01
        self.answered = 0

    async def call(self, function, arguments):
        self.calls.append((function, arguments))
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise self.fails.pop(0)
        self.answered += 1
        return {lane: dict(said) for lane, said in self.says.items()}


class Watch(Quiet):
    """An observer that keeps what was recovered, and by which lane the queue was called down."""

    def __init__(self):
        super().__init__()
        self.found, self.down = [], []

    def recovered(self, lane, recovered):
        self.found.append((lane, recovered))

    def queue_down(self, lane, error):
        self.down.append(lane)


class Lanes:
    """Two lanes, and what sweeps for both."""

    def __init__(self, handler=send):
        clock = asyncio.get_running_loop().time
        self.database, self.watch = Database(), Watch()
        self.queues = {EVENTS: MemoryQueue(), PLANS: MemoryQueue()}
        self.interval, self.name = INTERVAL, "one"
        self.sweeper = Sweeper(
            CommonSweep(
                self.database,
                lease=120.0,
                resend_uncertain=True,
                request_leases={PLANS: 75.0},
                replica=lambda: {"name": self.name},
            ),
            interval=lambda: self.interval,
            settle_first=lambda: self.pumps[EVENTS].settle_until,
            clock=clock,
        )
        self.pumps = {
            lane: Pump(
                lane, queue, handler, self.watch, self.sweeper, slots=4, lease=60.0, clock=clock
            )
            for lane, queue in self.queues.items()
        }
        self.sweeper.follow(*self.pumps.values())

    @property
    def sweeps(self):
        return len(self.database.calls)

    @property
    def claims(self):
        return {lane: len(queue.claims) for lane, queue in self.queues.items()}


@pytest.fixture
def lived():
    """Run a scenario with two lanes and their sweeper in the background."""

    def run(scenario, handler=send):
        async def all_of_it():
            lanes = Lanes(handler)
            tasks = [asyncio.create_task(lanes.sweeper.run())]
            tasks += [asyncio.create_task(pump.run()) for pump in lanes.pumps.values()]
            try:
                await asyncio.sleep(5)  # the first sweep and claims are over
                await scenario(lanes)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        in_virtual_time(all_of_it())

    return run


def test_one_call_asks_for_every_lane(lived):
    """With the lease of each; what was found is told lane by lane."""

    async def scenario(lanes):
        lanes.database.says = {EVENTS: {"returned": 1}, PLANS: {"returned": 2}}
        lanes.name = "another"
        await asyncio.sleep(INTERVAL)

        assert lanes.watch.found == [
            (EVENTS, Recovered(returned=1)),
            (PLANS, Recovered(returned=2)),
        ]
        assert lanes.database.calls[-1] == (
            "sweep_tma",
            {
                "p_lease": "120.0 seconds",
                "p_resend_uncertain": True,
                "p_request_leases": {PLANS: 75.0},
                "p_replica": {"name": "another"},
            },
        )

    lived(scenario)


def test_an_idle_bridge_makes_two_calls_a_minute(lived):
    """However many lanes it has."""

    async def scenario(lanes):
        claims, sweeps = lanes.claims, lanes.sweeps
        await asyncio.sleep(600)

        assert lanes.sweeps - sweeps <= 20
        assert lanes.claims == claims

    lived(scenario)


@pytest.mark.parametrize(("due", "claimed"), [(0, 1), (3.0, 1), (20.0, 0), (None, 0)])
def test_a_lane_claims_when_its_next_row_is_due(lived, due, claimed):
    """And the other one, of which nothing is due, does not."""

    async def scenario(lanes):
        claims = lanes.claims
        lanes.database.says[PLANS] = {"next_due_seconds": due}
        answered = lanes.database.answered
        await until(lambda: lanes.database.answered > answered, seconds=INTERVAL)
        lanes.database.says[PLANS] = {}
        await asyncio.sleep(3.5)

        assert lanes.claims == {EVENTS: claims[EVENTS], PLANS: claims[PLANS] + claimed}

    lived(scenario)


def test_what_was_told_during_a_sweep_is_newer_than_what_it_says(lived):
    """A row settled for a retry meanwhile may be due before all that the sweep saw."""

    async def later(row, stopwatch):
        return Retry("not yet", after=4.0) if row.id == 1 else Sent(row.id)

    async def scenario(lanes):
        lanes.database.seconds = 2.0
        sweeps = lanes.sweeps
        await until(lambda: lanes.sweeps > sweeps, seconds=INTERVAL)
        lanes.queues[PLANS].rows = [Row(1)]
        lanes.pumps[PLANS].wake(Wake.BROADCAST)
        await until(lambda: lanes.queues[PLANS].settled, seconds=1.0)
        claims = lanes.claims
        await asyncio.sleep(4.5)

        assert lanes.claims[PLANS] > claims[PLANS]

    lived(scenario, later)


def test_what_was_told_before_a_sweep_is_older_than_what_it_says(lived):
    """The row of which was known may be withdrawn by now, or in other hands."""

    async def later(row, stopwatch):
        return Retry("not yet", after=60.0)

    async def scenario(lanes):
        lanes.queues[PLANS].rows = [Row(1)]
        lanes.pumps[PLANS].wake(Wake.READY)
        await until(lambda: lanes.queues[PLANS].settled, seconds=1.0)
        await asyncio.sleep(INTERVAL)
        claims = lanes.claims
        await asyncio.sleep(60)

        assert lanes.claims == claims

    lived(scenario, later)


def test_many_who_ask_for_a_sweep_get_one_a_second(lived):
    """All lanes together."""

    async def scenario(lanes):
        sweeps = lanes.sweeps
        for _ in range(100):
            lanes.sweeper.soon()
            await asyncio.sleep(0.1)

        assert lanes.sweeps - sweeps <= 10 / LOOK_AHEAD_SECONDS + 1

    lived(scenario)


def test_a_sweep_that_somebody_asks_for_during_a_sweep_comes_after_it(lived):
    """It may have missed the row that he has in mind."""

    async def scenario(lanes):
        lanes.database.seconds = 2.0
        sweeps = lanes.sweeps
        await until(lambda: lanes.sweeps > sweeps, seconds=INTERVAL)
        lanes.sweeper.soon()
        await asyncio.sleep(2.0 + LOOK_AHEAD_SECONDS + 0.1)

        assert lanes.sweeps == sweeps + 2

    lived(scenario)


def test_a_shorter_interval_counts_at_once(lived):
    """While no bell can be heard, polling begins now and not after the next sweep."""

    async def scenario(lanes):
        lanes.interval = 3.0
        lanes.sweeper.hurry()
        sweeps = lanes.sweeps
        await asyncio.sleep(10)

        assert lanes.sweeps - sweeps >= 3

    lived(scenario)


@pytest.mark.parametrize(
    "error", [Unavailable("no answer"), Refused("no", "fix"), ArithmeticError("a bug")]
)
def test_a_sweep_that_fails_is_said_and_comes_again(lived, error):
    """It ends nobody; and the lanes ask too, so that they know when the database is back."""

    async def scenario(lanes):
        claims = lanes.claims
        lanes.database.fails = [error] * 3
        await until(lambda: lanes.sweeper.problem, seconds=INTERVAL)
        assert lanes.watch.down == [EVENTS]
        await until(lambda: lanes.sweeper.problem is None, seconds=60)

        assert all(lanes.claims[lane] > claims[lane] for lane in claims)

    lived(scenario)


def test_a_lane_that_the_sweep_leaves_out_asks_for_itself(lived):
    """And hears why, such as that its table is gone; what was said of the others counts."""

    async def scenario(lanes):
        lanes.database.says = {EVENTS: {"returned": 1}}
        claims = lanes.claims
        await asyncio.sleep(INTERVAL)

        assert lanes.watch.found == [(EVENTS, Recovered(returned=1))]
        assert lanes.claims == {EVENTS: claims[EVENTS], PLANS: claims[PLANS] + 1}

    lived(scenario)


def test_a_sweep_that_says_nothing_of_events_is_no_answer(lived):
    """Nobody else would take those rows back."""

    async def scenario(lanes):
        lanes.database.says = {PLANS: {}}
        await asyncio.sleep(INTERVAL)

        assert lanes.sweeper.problem == "sweep_tma says nothing of tma_events"

    lived(scenario)


def test_a_request_table_that_is_refused_for_ever_does_not_hold_sweeps_up(lived):
    """Only the lane of events has outcomes that must come first."""

    async def scenario(lanes):
        async def refused(limit):
            raise Refused("no such table", "")

        lanes.queues[PLANS].claim = refused
        lanes.pumps[PLANS].wake(Wake.READY)
        await asyncio.sleep(60)
        sweeps = lanes.sweeps
        await asyncio.sleep(120)

        assert lanes.sweeps - sweeps >= 4

    lived(scenario)
