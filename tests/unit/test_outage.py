"""An outage is logged at once, counted and summed up: ten minutes of it fit on a page."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from realtime_bridge.database.rpc import Refused, Unavailable
from realtime_bridge.model import Recovered, Wake
from realtime_bridge.observe.metrics import Metrics
from realtime_bridge.observe.outage import CALM_SECONDS, Outage
from realtime_bridge.observe.telemetry import Telemetry
from realtime_bridge.observe.throttled_log import ThrottledLog, Total
from realtime_bridge.outcomes import Sent
from realtime_bridge.worker.ports import Claim
from realtime_bridge.worker.pump import Pump
from realtime_bridge.worker.sweeper import Sweeper
from tests.unit.rows import event
from tests.unit.virtual_time import in_virtual_time

LANES = ("tma_events", "plan_requests", "draft_requests")
TEXTS = ("Connection refused", "HTTP 503 from claim", "TimeoutError", "HTTP 502 from sweep")


class Timer:
    """A timer that never fires."""

    def cancel(self):
        pass


class FlakyQueue:
    """A queue that can be down, with another error each time."""

    def __init__(self):
        self.rows, self.away, self.refuses, self.calls = [], False, False, 0

    def _answer(self):
        self.calls += 1
        if self.away:
            raise Unavailable(TEXTS[self.calls % len(TEXTS)])
        if self.refuses:
            raise Refused("Supabase refused the key", "Set another one", status=401)

    async def claim(self, limit):
        self._answer()
        taken, self.rows[:limit] = self.rows[:limit], []
        return Claim(taken)

    async def recall(self):
        return ()

    async def settle(self, row, outcome):
        self._answer()
        return True

    async def release(self, rows):
        pass

    async def sweep(self):
        self._answer()
        return {lane: Recovered() for lane in LANES}


async def send(row, stopwatch):
    return Sent(1)


def of(lines, *events):
    return [line for line in lines if line["event"] in events and line["log_level"] != "debug"]


@pytest.fixture
def run_scenario():
    """Run a scenario with three lanes that share a queue; return what was logged."""

    def run(scenario, away=lambda _: None):
        queue = FlakyQueue()

        async def all_of_it():
            clock = asyncio.get_running_loop().time
            outage = Outage(away, clock=clock)
            watch = Telemetry(Metrics(), outage=outage)
            sweeper = Sweeper(
                queue.sweep,
                interval=lambda: 30.0,
                settle_first=lambda: pumps[0].settle_until,
                clock=clock,
            )
            pumps = [
                Pump(lane, queue, send, watch, sweeper, slots=64, lease=120.0, clock=clock)
                for lane in LANES
            ]
            sweeper.follow(*pumps)
            sweeping = asyncio.create_task(sweeper.run())
            running = [asyncio.create_task(pump.run()) for pump in pumps]
            try:
                await scenario(queue, pumps)
            finally:
                for pump in pumps:
                    pump.stop()
                await asyncio.gather(*running)
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)

        with capture_logs() as lines:
            in_virtual_time(all_of_it())
        return lines

    return run


@pytest.mark.parametrize("how", ["away", "refuses"])
def test_ten_minutes_are_few_lines(run_scenario, how):
    """Three lanes and four errors are one outage, summed up at the end."""
    at = {}

    async def scenario(queue, pumps):
        queue.rows = [event(id=n) for n in range(64)]
        await asyncio.sleep(0)
        await asyncio.sleep(20)
        queue.rows = [event(id=n) for n in range(64)]
        pumps[0].wake(Wake.CHANGES)
        setattr(queue, how, True)
        for pump in pumps:
            pump.wake(Wake.CHANGES)
        at["first"] = queue.calls
        await asyncio.sleep(600)
        at["failed"] = queue.calls - at["first"]
        setattr(queue, how, False)
        await asyncio.sleep(30)

    lines = run_scenario(scenario)
    said = of(lines, "queue_unavailable", "queue_refused", "queue_available")

    assert len(said) <= 8
    assert not of(lines, "settle_refused", "handler_raised")
    assert "again" not in said[0]
    assert "times in" in said[1]["again"]
    assert said[-1]["event"] == "queue_available"
    assert 590 < said[-1]["lasted_s"] <= 606
    assert said[-1]["failed_calls"] == at["failed"]
    assert said[-1]["lanes"] == ["draft_requests", "plan_requests", "tma_events"]


@pytest.mark.parametrize("how", ["away", "refuses"])
def test_outcomes_that_wait_add_no_lines(run_scenario, how):
    """The database goes after 64 messages were sent: retries to write outcomes are not logged."""
    kept = {}

    async def scenario(queue, pumps):
        queue.rows = [event(id=n) for n in range(64)]
        pumps[0].wake(Wake.CHANGES)
        claim = queue.claim

        async def claim_and_go(limit):
            brought = await claim(limit)
            setattr(queue, how, getattr(queue, how) or bool(brought.rows))
            return brought

        queue.claim = claim_and_go
        await asyncio.sleep(600)
        kept["before"] = pumps[0].unwritten
        setattr(queue, how, False)
        await asyncio.sleep(30)
        kept["after"] = pumps[0].unwritten

    lines = run_scenario(scenario)
    said = of(lines, "queue_unavailable", "queue_refused", "queue_available", "settle_refused")

    assert kept == {"before": 64, "after": 0}
    assert len(said) <= 8
    assert said[-1]["event"] == "queue_available"
    assert said[-1]["failed_calls"] > 1000


def test_an_outage_that_only_an_outcome_met_ends_when_that_is_written(run_scenario):
    """Nobody else calls the database for half a minute."""

    async def scenario(queue, pumps):
        await asyncio.sleep(60)
        settle = queue.settle

        async def fail_once(row, outcome):
            queue.settle = settle
            raise Unavailable("no answer")

        queue.settle = fail_once
        queue.rows = [event()]
        pumps[0].wake(Wake.CHANGES)
        await asyncio.sleep(1.5 + CALM_SECONDS)

    lines = run_scenario(scenario)

    assert len(of(lines, "queue_unavailable", "queue_available")) == 2


def test_the_first_line_of_every_outage_comes_at_once(run_scenario):
    """The previous outage does not hold back any line."""

    async def scenario(queue, pumps):
        for _ in range(2):
            await asyncio.sleep(60)
            queue.away = True
            pumps[0].wake(Wake.CHANGES)
            await asyncio.sleep(0.01)
            queue.away = False
            await asyncio.sleep(30)

    said = of(run_scenario(scenario), "queue_unavailable", "queue_available")

    assert [line["event"] for line in said] == ["queue_unavailable", "queue_available"] * 2
    assert not [line for line in said if "again" in line]


def test_a_database_that_comes_and_goes_is_one_outage(run_scenario):
    """Every three seconds for ten minutes: one first line, one last, and counts between them."""

    async def scenario(queue, pumps):
        await asyncio.sleep(60)
        for _ in range(200):
            queue.away = not queue.away
            pumps[0].wake(Wake.CHANGES)
            await asyncio.sleep(3)
        queue.away = False
        await asyncio.sleep(30)

    said = of(run_scenario(scenario), "queue_unavailable", "queue_available")

    assert len(said) <= 10
    assert [line["event"] for line in said].count("queue_available") == 1


def test_the_bells_are_told_when_the_first_lane_loses_the_database_and_when_all_have_it(
    run_scenario,
):
    """Nobody else can tell them: Realtime does not report it."""
    told = []

    async def scenario(queue, pumps):
        await asyncio.sleep(60)
        assert told == []
        queue.away = True
        pumps[1].wake(Wake.CHANGES)
        await asyncio.sleep(0.01)
        assert told == [True]
        for pump in pumps:
            pump.wake(Wake.CHANGES)
        await asyncio.sleep(20)
        queue.away = False
        await asyncio.sleep(5.5)
        assert told == [True, False]

    run_scenario(scenario, told.append)


def test_a_refusal_is_an_answer():
    """A function that is missing in one lane does not mean that the database is away."""
    told = []
    outage = Outage(told.append, clock=lambda: 0.0, later=lambda *_: None)

    outage.failed("tma_events", Unavailable("no answer"))
    outage.failed("plan_requests", Refused("the database has no function", "migrate", status=404))
    assert told == [True]
    outage.failed("tma_events", Refused("the database has no function", "migrate", status=404))
    assert told == [True, False]


def test_the_end_is_logged_once_it_has_lasted():
    """The duration ends when the database answered, not when the line is logged."""
    now, timers = [0.0], []
    outage = Outage(
        clock=lambda: now[0], later=lambda seconds, call: timers.append((seconds, call))
    )

    with capture_logs() as lines:
        outage.failed("tma_events", Unavailable("no answer"))
        now[0] = 7.5
        outage.answered("tma_events")
        now[0] = 7.5 + CALM_SECONDS
        ((seconds, end),) = timers
        end()

    assert seconds == CALM_SECONDS
    assert lines[-1] == {
        "event": "queue_available",
        "log_level": "info",
        "lanes": ["tma_events"],
        "lasted_s": 7.5,
        "failed_calls": 1,
    }


def test_a_stop_does_not_swallow_the_end():
    """What would be logged in six seconds is logged now."""
    outage = Outage(clock=lambda: 0.0, later=lambda *_: Timer())

    with capture_logs() as lines:
        outage.close()
        outage.failed("tma_events", Unavailable("no answer"))
        outage.close()
        outage.answered("tma_events")
        outage.close()
        outage.close()

    assert len(of(lines, "queue_available")) == 1


def log_for(throttled, seconds, *, every=1.0, clock, event="lost", **fields):
    for _ in range(int(seconds / every)):
        throttled.warning(event, **fields)
        clock[0] += every


def test_lines_of_a_kind_are_counted_in_growing_steps():
    """At once, after a minute, after two more, after four more; the others at level debug."""
    clock = [0.0]
    with capture_logs() as lines:
        throttled = ThrottledLog(structlog.get_logger(), clock=lambda: clock[0])
        log_for(throttled, 600, clock=clock, error="x")

    said = of(lines, "lost")
    assert [line.get("again") for line in said] == [
        None,
        "60 times in 60 s",
        "120 times in 120 s",
        "240 times in 240 s",
    ]
    assert len(lines) == 600


def test_kinds_are_told_apart_by_their_event_and_the_fields_named():
    """Another bell is another kind; another error is not."""
    clock = [0.0]
    with capture_logs() as lines:
        throttled = ThrottledLog(structlog.get_logger(), by=("bell",), clock=lambda: clock[0])
        for bell in ("changes", "broadcast"):
            for text in ("one", "two"):
                throttled.error("refused", bell=bell, error=text)
        throttled.info("ready")

    assert [(line["event"], line.get("bell")) for line in of(lines, "refused", "ready")] == [
        ("refused", "changes"),
        ("refused", "broadcast"),
        ("ready", None),
    ]


@pytest.mark.parametrize("how", ["over", "long ago"])
def test_what_was_over_is_logged_at_once_again(how):
    """Because over() was called, or because it has not come for a long time."""
    clock = [0.0]
    with capture_logs() as lines:
        throttled = ThrottledLog(structlog.get_logger(), clock=lambda: clock[0])
        throttled.warning("lost")
        clock[0] += 2
        throttled.warning("lost")
        if how == "over":
            assert throttled.over("lost", "refused") == Total(seconds=2.0, times=2)
            assert throttled.over("lost", "refused") is None
        else:
            clock[0] += 300
        throttled.warning("lost")

    assert [line.get("again") for line in of(lines, "lost")] == [None, None]
