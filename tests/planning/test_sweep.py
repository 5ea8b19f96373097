"""One sweep for all lanes."""

import asyncio

import pytest

from realtime_bridge.model import Recovered, Sent
from realtime_bridge.pump import Pump
from realtime_bridge.rpc import Unavailable
from realtime_bridge.sweep import Sweep
from tests.unit.test_pump import MemoryQueue, Quiet, Row, send, until
from tests.unit.virtual_time import in_virtual_time

KEEP = 15.0


class Database:
    """Answers sweep_tma, and keeps what it was asked."""

    def __init__(self, *, takes=0.01):
        self.calls = []
        self.says = {"events": {}, "plans": {}}
        self.down = False
        self._takes = takes

    async def call(self, function, arguments):
        self.calls.append((function, arguments))
        await asyncio.sleep(self._takes)
        if self.down:
            raise Unavailable("no answer")
        return {lane: dict(said) for lane, said in self.says.items()}


def new_sweep(database):
    return Sweep(
        database,
        lease=120.0,
        resend_uncertain=True,
        request_leases={"plans": 75.0},
        keep=lambda: KEEP,
        clock=asyncio.get_running_loop().time,
    )


@pytest.fixture
def told():
    """Run a scenario with a sweep over a database in memory."""

    def run(scenario):
        async def all_of_it():
            database = Database()
            await scenario(new_sweep(database), database)

        in_virtual_time(all_of_it())

    return run


def test_one_call_asks_for_every_lane(told):
    """With the lease of each."""

    async def scenario(sweep, database):
        await sweep.recover("events")

        assert database.calls == [
            (
                "sweep_tma",
                {
                    "p_lease": "120.0 seconds",
                    "p_resend_uncertain": True,
                    "p_request_leases": {"plans": 75.0},
                },
            )
        ]

    told(scenario)


def test_lanes_that_sweep_together_ask_once(told):
    """The second waits for the first one's answer."""

    async def scenario(sweep, database):
        database.says = {"events": {"returned": 1}, "plans": {"returned": 2}}

        both = await asyncio.gather(sweep.recover("events"), sweep.recover("plans"))

        assert both == [Recovered(returned=1), Recovered(returned=2)]
        assert len(database.calls) == 1

    told(scenario)


def test_an_answer_is_used_once(told):
    """The same lane asks again."""

    async def scenario(sweep, database):
        await sweep.recover("events")
        await sweep.recover("plans")
        await sweep.recover("plans")

        assert len(database.calls) == 2

    told(scenario)


def test_an_old_answer_is_not_used(told):
    """It is good for half a period."""

    async def scenario(sweep, database):
        await sweep.recover("events")
        await asyncio.sleep(KEEP + 1)
        await sweep.recover("plans")

        assert len(database.calls) == 2

    told(scenario)


def test_time_goes_on_for_a_kept_answer(told):
    """What was due in ten seconds is due in three, seven seconds later; never before now."""

    async def scenario(sweep, database):
        database.says["plans"] = {"next_due_seconds": 10.0}
        await sweep.recover("events")
        await asyncio.sleep(7)

        assert (await sweep.recover("plans")).next_due_seconds == pytest.approx(3, abs=0.1)

        database.says["plans"] = {"next_due_seconds": 5.0}
        await sweep.recover("events")
        await asyncio.sleep(7)

        assert (await sweep.recover("plans")).next_due_seconds == 0.0

    told(scenario)


@pytest.mark.parametrize("act", ["claim", "settle"])
def test_an_answer_from_before_something_happened_is_not_used(told, act):
    """A settled row may have made another one due, on any lane."""

    async def scenario(sweep, database):
        queue = sweep.over("events", MemoryQueue())
        await sweep.recover("events")
        await (queue.claim(1) if act == "claim" else queue.settle(Row(1), Sent(1)))
        await sweep.recover("plans")

        assert len(database.calls) == 2

    told(scenario)


def test_an_answer_given_while_something_happened_is_not_kept(told):
    """The database may have looked before it."""

    async def scenario(sweep, database):
        asking = asyncio.create_task(sweep.recover("events"))
        await asyncio.sleep(0)
        sweep.stir()
        await asking
        await sweep.recover("plans")

        assert len(database.calls) == 2

    told(scenario)


def test_rows_that_were_recovered_are_reported_though_the_answer_is_old(told):
    """Counts go to the log and the metrics, and must not get lost."""

    async def scenario(sweep, database):
        database.says["plans"] = {"returned": 2, "next_due_seconds": 0.0}
        await sweep.recover("events")
        sweep.stir()
        database.says["plans"] = {"returned": 1}

        assert await sweep.recover("plans") == Recovered(returned=3)
        assert await sweep.recover("plans") == Recovered(returned=1)

    told(scenario)


def test_when_the_database_is_away_every_lane_is_told(told):
    """And the next call is a new one."""

    async def scenario(sweep, database):
        database.down = True
        for lane in ("events", "plans"):
            with pytest.raises(Unavailable):
                await sweep.recover(lane)
        database.down = False

        assert await sweep.recover("plans") == Recovered()

    told(scenario)


def test_all_else_goes_to_the_lanes_own_queue(told):
    """Claims, outcomes and claims handed back."""

    async def scenario(sweep, database):
        own = MemoryQueue(rows=[Row(1), Row(2)])
        queue = sweep.over("events", own)

        rows = await queue.claim(2)
        assert await queue.settle(rows[0], Sent(7))
        await queue.release(rows[1:])

        assert own.settled == [(1, Sent(7))]
        assert own.released == [2]
        assert database.calls == []

    told(scenario)


@pytest.mark.parametrize("apart", [0.0, 7.0, 20.0])
def test_two_idle_lanes_make_two_calls_a_minute(apart):
    """At a sweep of 30 seconds, whenever either of them began."""
    database, queues = Database(), [MemoryQueue(), MemoryQueue()]

    async def scenario():
        sweep = new_sweep(database)
        pumps = [
            Pump(
                lane,
                sweep.over(lane, queue),
                send,
                Quiet(),
                slots=4,
                interval=lambda: 30.0,
                lease=60.0,
                clock=asyncio.get_running_loop().time,
            )
            for lane, queue in zip(("events", "plans"), queues, strict=True)
        ]
        running = [asyncio.create_task(pumps[0].run())]
        await asyncio.sleep(apart)
        running.append(asyncio.create_task(pumps[1].run()))
        await asyncio.sleep(60)
        calls = len(database.calls), sum(len(queue.claims) for queue in queues)
        await asyncio.sleep(600)
        assert len(database.calls) - calls[0] <= 20
        assert sum(len(queue.claims) for queue in queues) == calls[1]
        for pump in pumps:
            pump.stop()
        await asyncio.gather(*running)

    in_virtual_time(scenario())


def test_a_row_that_a_sweep_found_for_another_lane_is_claimed(told):
    """Though that lane did not ask itself."""

    async def scenario(sweep, database):
        queue = MemoryQueue()
        pump = Pump(
            "plans",
            sweep.over("plans", queue),
            send,
            Quiet(),
            slots=4,
            interval=lambda: 30.0,
            lease=60.0,
            clock=asyncio.get_running_loop().time,
        )
        running = asyncio.create_task(pump.run())
        await asyncio.sleep(29)
        queue.rows.append(Row(1))
        database.says["plans"] = {"next_due_seconds": 0.0}
        await sweep.recover("events")
        calls = len(database.calls)
        await until(lambda: queue.settled, seconds=2.0)
        assert len(database.calls) == calls
        pump.stop()
        await running

    told(scenario)
