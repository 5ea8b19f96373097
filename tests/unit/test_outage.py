"""An outage is said at once, counted, and summed up: ten minutes of it are a page of log."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from realtime_bridge.database.rpc import Refused, Unavailable
from realtime_bridge.model import Recovered, Wake
from realtime_bridge.observe.metrics import Metrics
from realtime_bridge.observe.outage import CALM_SECONDS, Outage
from realtime_bridge.observe.repeats import Repeats, Total
from realtime_bridge.observe.telemetry import Telemetry
from realtime_bridge.outcomes import Sent
from realtime_bridge.worker.ports import Claim
from realtime_bridge.worker.pump import Pump
from realtime_bridge.worker.sweeper import Sweeper
from tests.unit.rows import event
from tests.unit.virtual_time import in_virtual_time

LANES = ("tma_events", "plan_requests", "draft_requests")
TEXTS = ("Connection refused", "HTTP 503 from claim", "TimeoutError", "HTTP 502 from sweep")


class Timer:
    """One that never comes."""

    def cancel(self):
        pass


class Weather:
    """A queue that answers or not, each time in other words."""

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


async def send(row, laps):
    return Sent(1)


def of(lines, *events):
    return [line for line in lines if line["event"] in events and line["log_level"] != "debug"]


@pytest.fixture
def lived():
    """Run a scenario with three lanes that share a queue's weather; return what was logged."""

    def run(scenario, away=lambda _: None):
        weather = Weather()

        async def all_of_it():
            clock = asyncio.get_running_loop().time
            outage = Outage(away, clock=clock)
            watch = Telemetry(Metrics(), outage=outage)
            sweeper = Sweeper(
                weather.sweep,
                interval=lambda: 30.0,
                settle_first=lambda: pumps[0].settle_until,
                clock=clock,
            )
            pumps = [
                Pump(lane, weather, send, watch, sweeper, slots=64, lease=120.0, clock=clock)
                for lane in LANES
            ]
            sweeper.follow(*pumps)
            sweeping = asyncio.create_task(sweeper.run())
            running = [asyncio.create_task(pump.run()) for pump in pumps]
            try:
                await scenario(weather, pumps)
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
def test_ten_minutes_are_few_lines(lived, how):
    """Three lanes and four texts are one outage, with its sum at the end."""
    at = {}

    async def scenario(weather, pumps):
        weather.rows = [event(id=n) for n in range(64)]
        await asyncio.sleep(0)
        await asyncio.sleep(20)
        weather.rows = [event(id=n) for n in range(64)]
        pumps[0].wake(Wake.CHANGES)
        setattr(weather, how, True)
        for pump in pumps:
            pump.wake(Wake.CHANGES)
        at["first"] = weather.calls
        await asyncio.sleep(600)
        at["failed"] = weather.calls - at["first"]
        setattr(weather, how, False)
        await asyncio.sleep(30)

    lines = lived(scenario)
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
def test_outcomes_that_wait_add_no_lines(lived, how):
    """Sixty-four messages were sent when the database went: each outcome is tried in silence."""
    kept = {}

    async def scenario(weather, pumps):
        weather.rows = [event(id=n) for n in range(64)]
        pumps[0].wake(Wake.CHANGES)
        claim = weather.claim

        async def claim_and_go(limit):
            brought = await claim(limit)
            setattr(weather, how, getattr(weather, how) or bool(brought.rows))
            return brought

        weather.claim = claim_and_go
        await asyncio.sleep(600)
        kept["before"] = pumps[0].unwritten
        setattr(weather, how, False)
        await asyncio.sleep(30)
        kept["after"] = pumps[0].unwritten

    lines = lived(scenario)
    said = of(lines, "queue_unavailable", "queue_refused", "queue_available", "settle_refused")

    assert kept == {"before": 64, "after": 0}
    assert len(said) <= 8
    assert said[-1]["event"] == "queue_available"
    assert said[-1]["failed_calls"] > 1000


def test_an_outage_that_only_an_outcome_met_ends_when_that_is_written(lived):
    """Nobody else asks for half a minute."""

    async def scenario(weather, pumps):
        await asyncio.sleep(60)
        settle = weather.settle

        async def fail_once(row, outcome):
            weather.settle = settle
            raise Unavailable("no answer")

        weather.settle = fail_once
        weather.rows = [event()]
        pumps[0].wake(Wake.CHANGES)
        await asyncio.sleep(1.5 + CALM_SECONDS)

    lines = lived(scenario)

    assert len(of(lines, "queue_unavailable", "queue_available")) == 2


def test_the_first_line_comes_at_once_and_the_next_outage_is_news(lived):
    """Nothing is held back by what was said of the outage before."""

    async def scenario(weather, pumps):
        for _ in range(2):
            await asyncio.sleep(60)
            weather.away = True
            pumps[0].wake(Wake.CHANGES)
            await asyncio.sleep(0.01)
            weather.away = False
            await asyncio.sleep(30)

    said = of(lived(scenario), "queue_unavailable", "queue_available")

    assert [line["event"] for line in said] == ["queue_unavailable", "queue_available"] * 2
    assert not [line for line in said if "again" in line]


def test_a_database_that_comes_and_goes_is_one_outage(lived):
    """Every three seconds for ten minutes: one beginning, one end, and counts between."""

    async def scenario(weather, pumps):
        await asyncio.sleep(60)
        for _ in range(200):
            weather.away = not weather.away
            pumps[0].wake(Wake.CHANGES)
            await asyncio.sleep(3)
        weather.away = False
        await asyncio.sleep(30)

    said = of(lived(scenario), "queue_unavailable", "queue_available")

    assert len(said) <= 10
    assert [line["event"] for line in said].count("queue_available") == 1


def test_the_bells_are_told_when_the_first_lane_loses_the_database_and_when_all_have_it(lived):
    """By nobody else: Realtime says nothing of it."""
    told = []

    async def scenario(weather, pumps):
        await asyncio.sleep(60)
        assert told == []
        weather.away = True
        pumps[1].wake(Wake.CHANGES)
        await asyncio.sleep(0.01)
        assert told == [True]
        for pump in pumps:
            pump.wake(Wake.CHANGES)
        await asyncio.sleep(20)
        weather.away = False
        await asyncio.sleep(5.5)
        assert told == [True, False]

    lived(scenario, told.append)


def test_a_refusal_is_an_answer():
    """A function that is missing in one lane does not make the bells deaf."""
    told = []
    outage = Outage(told.append, clock=lambda: 0.0, later=lambda *_: None)

    outage.failed("tma_events", Unavailable("no answer"))
    outage.failed("plan_requests", Refused("the database has no function", "migrate", status=404))
    assert told == [True]
    outage.failed("tma_events", Refused("the database has no function", "migrate", status=404))
    assert told == [True, False]


def test_the_end_is_said_when_it_has_lasted():
    """With the time at which the database answered, not that of the line."""
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
    """What would be said in six seconds is said now."""
    outage = Outage(clock=lambda: 0.0, later=lambda *_: Timer())

    with capture_logs() as lines:
        outage.close()
        outage.failed("tma_events", Unavailable("no answer"))
        outage.close()
        outage.answered("tma_events")
        outage.close()
        outage.close()

    assert len(of(lines, "queue_available")) == 1


def said_by(repeats, seconds, *, every=1.0, clock, event="lost", **fields):
    for _ in range(int(seconds / every)):
        repeats.warning(event, **fields)
        clock[0] += every


def test_lines_of_a_kind_are_counted_in_growing_steps():
    """At once, after a minute, after two more, after four more; each is there at debug."""
    clock = [0.0]
    with capture_logs() as lines:
        repeats = Repeats(structlog.get_logger(), clock=lambda: clock[0])
        said_by(repeats, 600, clock=clock, error="x")

    said = of(lines, "lost")
    assert [line.get("again") for line in said] == [
        None,
        "60 times in 60 s",
        "120 times in 120 s",
        "240 times in 240 s",
    ]
    assert len(lines) == 600


def test_kinds_are_told_apart_by_their_event_and_the_fields_named():
    """Another bell is another kind, another text is not."""
    clock = [0.0]
    with capture_logs() as lines:
        repeats = Repeats(structlog.get_logger(), by=("bell",), clock=lambda: clock[0])
        for bell in ("changes", "broadcast"):
            for text in ("one", "two"):
                repeats.error("refused", bell=bell, error=text)
        repeats.info("ready")

    assert [(line["event"], line.get("bell")) for line in of(lines, "refused", "ready")] == [
        ("refused", "changes"),
        ("refused", "broadcast"),
        ("ready", None),
    ]


@pytest.mark.parametrize("how", ["over", "long ago"])
def test_what_was_over_is_news_again(how):
    """Because it was said to be over, or because it has not come for long."""
    clock = [0.0]
    with capture_logs() as lines:
        repeats = Repeats(structlog.get_logger(), clock=lambda: clock[0])
        repeats.warning("lost")
        clock[0] += 2
        repeats.warning("lost")
        if how == "over":
            assert repeats.over("lost", "refused") == Total(seconds=2.0, times=2)
            assert repeats.over("lost", "refused") is None
        else:
            clock[0] += 300
        repeats.warning("lost")

    assert [line.get("again") for line in of(lines, "lost")] == [None, None]
