"""The pump, step by step, with a queue in memory and a clock in hand."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from realtime_bridge.database.rpc import Unavailable
from realtime_bridge.model import Recovered, Wake
from realtime_bridge.outcomes import Halted, Retry, Sent, Uncertain
from realtime_bridge.worker.ports import Claim
from realtime_bridge.worker.pump import HALT_SECONDS, Pump
from realtime_bridge.worker.sweeper import Sweeper
from tests.unit.virtual_time import in_virtual_time


@dataclass(eq=False)
class Row:
    """A row with a name to tell it by."""

    id: int
    waited_seconds: float = 0.0


@dataclass
class MemoryQueue:
    """Rows in a list, and a record of what was asked."""

    rows: list = field(default_factory=list)
    settled: list = field(default_factory=list)
    released: list = field(default_factory=list)
    claims: list = field(default_factory=list)
    sweeps: int = 0
    next_due: float | None = None
    again_in: float | None = None  # what claims say, if they know it
    unanswered: list = field(default_factory=list)
    fail: int = 0  # so many calls find nobody
    during_claim: list = field(default_factory=list)  # called while a claim is in flight

    def _answer(self):
        if self.fail:
            self.fail -= 1
            raise Unavailable("no answer")

    async def claim(self, limit):
        self.claims.append(limit)
        self._answer()
        taken, self.rows[:limit] = self.rows[:limit], []
        for call in self.during_claim:
            call()
        await asyncio.sleep(0)
        return Claim(taken, self.again_in)

    async def recall(self):
        self._answer()
        return self.unanswered

    async def settle(self, row, outcome):
        self._answer()
        self.settled.append((row.id, outcome))
        return True

    async def release(self, rows):
        self.released += [row.id for row in rows]

    async def recover(self):
        self.sweeps += 1
        self._answer()
        return Recovered(next_due_seconds=self.next_due)


class Quiet:
    """An observer that keeps the last of everything."""

    def __init__(self):
        self.sources, self.downs, self.halts = [], 0, []
        self.begun = []  # when the claims were that brought rows

    def woken(self, lane, source): ...

    def claimed(self, lane, rows, source, begun):
        self.sources.append(source)
        self.begun.append(begun)

    def settled(self, lane, row, outcome, stopwatch, *, held): ...

    def recovered(self, lane, recovered): ...

    def queue_down(self, lane, error):
        self.downs += 1

    def queue_up(self, lane): ...

    def halted(self, lane, why):
        self.halts.append(why)


async def send(row, stopwatch):
    """Handle a row at once."""
    return Sent(row.id)


def new_lane(queue, handler=send, *, observer=None, slots=4, interval=30.0, **more):
    """Build a pump over a queue in memory, and what sweeps for it."""
    observer = observer or Quiet()
    timing = {"waits": lambda: iter([1.0] * 1000), "clock": asyncio.get_running_loop().time}

    async def sweep():
        return {"lane": await queue.recover()}

    sweeper = Sweeper(
        sweep,
        interval=lambda: interval,
        settle_first=lambda: pump.settle_until,
        **timing,
    )
    pump = Pump(
        "lane", queue, handler, observer, sweeper, slots=slots, lease=60.0, **timing, **more
    )
    sweeper.follow(pump)
    return pump, sweeper


async def until(condition, seconds=1000.0):
    """Let the loop run until something holds; virtual seconds cost nothing."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def slow_to_settle(queue):
    """Outcomes are written from when the returned event is set."""
    go = asyncio.Event()

    async def settle(row, outcome):
        await go.wait()
        queue.settled.append((row.id, outcome))
        return True

    queue.settle = settle
    return go


@pytest.fixture
def lived():
    """Run a scenario with a pump and its sweeper in the background."""

    def run(scenario, queue, handler=send, **more):
        async def all_of_it():
            pump, sweeper = new_lane(queue, handler, **more)
            sweeping = asyncio.create_task(sweeper.run())
            running = asyncio.create_task(pump.run())
            try:
                await scenario(pump)
            finally:
                pump.stop()
                await running
                await pump.finish(1.0)
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)

        in_virtual_time(all_of_it())

    return run


def test_rows_that_were_there_before_the_start_are_handled_at_once(lived):
    """The first claim needs no ring."""
    queue = MemoryQueue(rows=[Row(1), Row(2)])

    async def scenario(pump):
        await until(lambda: len(queue.settled) == 2, seconds=0.5)

    lived(scenario, queue)


def test_a_claim_says_when_it_was_begun(lived):
    """An answer that is late says how old its rows were at some moment after that."""
    queue, observer = MemoryQueue(), Quiet()

    async def scenario(pump):
        await asyncio.sleep(5)
        queue.rows.append(Row(1))
        claim = queue.claim

        async def slow_claim(limit):
            rows = await claim(limit)
            await asyncio.sleep(3)
            return rows

        queue.claim = slow_claim
        pump.wake(Wake.BROADCAST)
        await until(lambda: queue.settled, seconds=4)

    lived(scenario, queue, observer=observer)

    (begun,) = observer.begun
    assert 5 <= begun < 5.1


def test_a_wake_leads_to_a_claim_at_once(lived):
    """Between sweeps a ring is enough."""
    queue = MemoryQueue()

    async def scenario(pump):
        await asyncio.sleep(5)
        queue.rows.append(Row(1))
        pump.wake(Wake.BROADCAST)
        await until(lambda: queue.settled, seconds=0.1)

    lived(scenario, queue)


def test_a_wake_during_a_claim_is_kept(lived):
    """A row that commits while a claim is in flight, and its ring, are not lost."""
    queue = MemoryQueue()

    async def scenario(pump):
        await asyncio.sleep(5)

        def commit_late():
            queue.during_claim.clear()
            queue.rows.append(Row(1))
            pump.wake(Wake.BROADCAST)

        queue.during_claim.append(commit_late)
        pump.wake(Wake.BROADCAST)
        await until(lambda: queue.settled, seconds=0.1)

    lived(scenario, queue)


def test_a_full_batch_means_claim_again(lived):
    """Ten rows and four slots need no further ring."""
    queue = MemoryQueue(rows=[Row(n) for n in range(10)])

    async def scenario(pump):
        await until(lambda: len(queue.settled) == 10, seconds=1.0)

    lived(scenario, queue)


def test_never_more_rows_in_hand_than_slots(lived):
    """A claim asks for free slots only."""
    queue, most, at_once = MemoryQueue(rows=[Row(n) for n in range(20)]), [], 0

    async def slow(row, stopwatch):
        nonlocal at_once
        at_once += 1
        most.append(at_once)
        await asyncio.sleep(1)
        at_once -= 1
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: len(queue.settled) == 20)

    lived(scenario, queue, slow, slots=3)
    assert max(most) == 3


def test_a_settled_row_makes_room_for_the_next_of_its_chat(lived):
    """A row that becomes claimable because the one before it settled needs no ring."""
    queue = MemoryQueue(rows=[Row(1)])

    async def one_after_the_other(row, stopwatch):
        if row.id < 5:
            queue.rows.append(Row(row.id + 1))
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: len(queue.settled) == 5, seconds=1.0)

    lived(scenario, queue, one_after_the_other)


def test_an_idle_lane_makes_one_call_a_sweep(lived):
    """Ten idle minutes at a sweep of 30 seconds are some twenty calls, none of them a claim."""
    queue = MemoryQueue()

    async def scenario(pump):
        await asyncio.sleep(1)
        claims = len(queue.claims)
        await asyncio.sleep(600)
        assert queue.sweeps <= 22
        assert len(queue.claims) == claims

    lived(scenario, queue)


def test_a_row_that_will_be_due_is_claimed_when_it_is(lived):
    """A sweep says when the next row is due; the pump is there on time."""
    queue = MemoryQueue()
    observer = Quiet()

    async def scenario(pump):
        await asyncio.sleep(1)
        queue.next_due = 7.0
        pump._sweeper.hurry()
        await asyncio.sleep(30)  # the next sweep learns of it
        queue.rows.append(Row(1))
        await until(lambda: queue.settled, seconds=8.5)

    lived(scenario, queue, observer=observer)
    assert observer.sources == ["due"]


def test_a_sweep_that_finds_a_row_looks_for_the_one_after_it(lived):
    """It told of the row that is due now, not of the one that is due in five seconds."""
    queue = MemoryQueue()

    async def scenario(pump):
        await asyncio.sleep(20)
        queue.rows.append(Row(1))
        queue.next_due = 0.0
        await until(lambda: queue.settled, seconds=12.0)
        queue.next_due = 5.0
        await asyncio.sleep(5)
        queue.rows.append(Row(2))
        await until(lambda: len(queue.settled) == 2, seconds=2.0)

    lived(scenario, queue)


def test_a_ring_for_a_row_of_the_near_future_looks_ahead(lived):
    """When a bell rings and nothing is due, a sweep soon finds out when it will be."""
    queue = MemoryQueue()

    async def scenario(pump):
        await asyncio.sleep(5)
        sweeps = queue.sweeps
        pump.wake(Wake.BROADCAST)
        await asyncio.sleep(1.5)
        assert queue.sweeps == sweeps + 1

    lived(scenario, queue)


def test_a_ring_for_a_row_that_is_due_and_one_of_the_near_future_looks_ahead(lived):
    """Inserted together they ring once, and the claim finds the first of them."""
    queue = MemoryQueue()

    async def scenario(pump):
        await asyncio.sleep(5)
        queue.rows.append(Row(1))
        queue.next_due = 3.0
        pump.wake(Wake.BROADCAST)
        await until(lambda: queue.settled, seconds=0.1)
        await asyncio.sleep(2)
        queue.rows.append(Row(2))
        await until(lambda: len(queue.settled) == 2, seconds=1.0)

    lived(scenario, queue)


def test_a_ring_during_a_claim_for_another_reason_looks_ahead(lived):
    """The claim that follows is for that reason too, whoever asked for it first."""
    queue = MemoryQueue()

    async def scenario(pump):
        await asyncio.sleep(5)
        sweeps = queue.sweeps

        def ring():
            queue.during_claim.clear()
            pump.wake(Wake.READY)
            pump.wake(Wake.CHANGES)

        queue.during_claim.append(ring)
        pump.wake(Wake.READY)
        await asyncio.sleep(1.5)
        assert queue.sweeps == sweeps + 1

    lived(scenario, queue)


def test_a_row_to_be_tried_later_is_claimed_when_its_time_has_come(lived):
    """Retry(after=5) wakes the lane in five seconds, without a sweep."""
    queue = MemoryQueue(rows=[Row(1)])

    async def later(row, stopwatch):
        if len(queue.settled) == 0:
            asyncio.get_running_loop().call_later(5, queue.rows.append, row)
            return Retry("not yet", after=5.0, counted=False)
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: len(queue.settled) == 2, seconds=5.5)

    lived(scenario, queue, later)


@pytest.mark.parametrize("outcome", [Retry("not yet"), Uncertain("who knows")])
def test_a_row_that_may_be_tried_again_is_not_forgotten_until_the_next_sweep(lived, outcome):
    """When it goes is for the queue to say, so it is asked soon."""
    queue = MemoryQueue(rows=[Row(1)])

    async def later(row, stopwatch):
        queue.next_due = 5.0
        return outcome if len(queue.settled) == 0 else Sent(row.id)

    async def scenario(pump):
        await until(lambda: queue.settled)
        sweeps = queue.sweeps
        await until(lambda: queue.sweeps > sweeps, seconds=1.5)
        queue.next_due = None
        queue.rows.append(Row(2))
        await until(lambda: len(queue.settled) == 2, seconds=6.0)

    lived(scenario, queue, later)


def test_rows_that_wait_for_a_slot_were_not_missed_by_the_doorbell(lived):
    """Only what a sweep finds while there was nothing to do was not rung for."""
    queue, observer = MemoryQueue(rows=[Row(n) for n in range(40)]), Quiet()
    queue.next_due = 0.0

    async def slow(row, stopwatch):
        await asyncio.sleep(1)
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: len(queue.settled) == 40)
        queue.next_due = None
        assert "sweep" not in observer.sources
        await asyncio.sleep(20)
        queue.rows.append(Row(99))
        queue.next_due = 0.0
        await until(lambda: len(queue.settled) == 41, seconds=40.0)

    lived(scenario, queue, slow, observer=observer)
    assert observer.sources[-1] == "sweep"


def test_a_queue_that_does_not_answer_is_asked_again_after_a_pause(lived):
    """No busy loop while it is down, and everything goes on when it is back."""
    queue, observer = MemoryQueue(rows=[Row(1)], fail=10), Quiet()

    async def scenario(pump):
        await asyncio.sleep(3.5)
        assert 3 <= observer.downs <= 5
        assert pump.problem is not None
        pump.wake(Wake.READY)  # a ring must not shorten the pause
        await until(lambda: queue.settled, seconds=8.0)
        assert pump.problem is None

    lived(scenario, queue, observer=observer)


def test_an_outcome_that_cannot_be_written_is_kept_and_tried_again(lived):
    """The message was sent: its outcome survives a database that is away for a while."""
    queue = MemoryQueue(rows=[Row(1)])

    async def send_while_it_goes_away(row, stopwatch):
        queue.fail = 5
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: queue.settled == [(1, Sent(1))], seconds=10.0)

    lived(scenario, queue, send_while_it_goes_away)


def test_outcomes_are_written_before_a_sweep_asks_about_their_rows(lived):
    """After a long outage a sweep would report what this or another replica knows as uncertain."""
    queue, order = MemoryQueue(rows=[Row(1)]), []

    async def send_while_it_goes_away(row, stopwatch):
        queue.fail = 1000
        return Sent(row.id)

    async def scenario(pump):
        write, sweep = queue.settle, queue.recover

        async def settle(row, outcome):
            held = await write(row, outcome)
            order.append("settle")
            return held

        async def recover():
            swept = await sweep()
            order.append("sweep")
            return swept

        queue.settle, queue.recover = settle, recover
        await until(lambda: pump.unwritten)
        await asyncio.sleep(200)  # longer than the lease
        order.clear()
        queue.fail = 0
        pump.wake(Wake.BROADCAST)  # a ring for nothing due asks for a sweep
        await until(lambda: "sweep" in order, seconds=40.0)

    lived(scenario, queue, send_while_it_goes_away, interval=3.0)
    assert order[0] == "settle"


def test_a_short_outage_delays_no_sweep_for_long(lived):
    """While polling is all there is, one bad answer must not make it pause."""
    queue = MemoryQueue()

    async def scenario(pump):
        await asyncio.sleep(10)
        queue.fail = 1
        sweeps = queue.sweeps
        await until(lambda: queue.sweeps == sweeps + 2, seconds=6.0)  # the failing one and the next

    lived(scenario, queue, interval=3.0)


def test_a_full_lane_that_asks_nobody_does_not_call_the_queue_up(lived):
    """Every slot holds an outcome that cannot be written: that is still an outage."""
    queue = MemoryQueue(rows=[Row(n) for n in range(4)])

    async def send_while_it_goes_away(row, stopwatch):
        queue.fail = 1000
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: pump.unwritten == 4)
        await asyncio.sleep(100)
        for _ in range(50):
            await asyncio.sleep(0.37)
            assert pump.problem is not None
        queue.fail = 0
        await until(lambda: pump.problem is None, seconds=20.0)

    lived(scenario, queue, send_while_it_goes_away, slots=4, interval=30.0)


def test_a_wrong_token_stops_the_lane_and_one_row_a_minute_asks_again(lived):
    """Halted rows do not spin; when the token works again everything flows."""
    queue, observer, token_ok = MemoryQueue(rows=[Row(n) for n in range(4)]), Quiet(), False

    async def refused(row, stopwatch):
        if token_ok:
            return Sent(row.id)
        queue.rows.append(row)  # settling it makes it pending again
        return Halted("unknown bot")

    async def scenario(pump):
        nonlocal token_ok
        await asyncio.sleep(1)
        assert pump.halted == "unknown bot"
        handled = len(queue.settled)
        pump.wake(Wake.BROADCAST)
        await asyncio.sleep(HALT_SECONDS * 2)
        assert len(queue.settled) - handled <= 3
        token_ok = True
        await until(lambda: not queue.rows, seconds=HALT_SECONDS + 5)
        assert pump.halted is None

    lived(scenario, queue, refused, observer=observer)
    assert observer.halts == ["unknown bot", None]


def test_a_handler_that_raises_settles_nothing_and_stops_nobody(lived):
    """The fence on the row decides what became of it; the other rows go on."""
    queue = MemoryQueue(rows=[Row(1), Row(2)])

    async def fragile(row, stopwatch):
        if row.id == 1:
            raise ValueError("a bug")
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: queue.settled)
        await asyncio.sleep(1)
        assert queue.settled == [(2, Sent(2))]

    lived(scenario, queue, fragile)


def test_a_stop_lets_rows_in_hand_finish(lived):
    """A soft stop: no new claims, what is on its way is settled."""
    queue = MemoryQueue(rows=[Row(1)])

    async def slow(row, stopwatch):
        await asyncio.sleep(0.5)
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: pump.in_hand)
        queue.rows.append(Row(2))

    lived(scenario, queue, slow)
    assert queue.settled == [(1, Sent(1))]


def test_a_stop_cuts_off_after_the_grace_and_hands_back(lived):
    """A handler that hangs is cancelled; its claim is handed back if it was not started."""
    queue = MemoryQueue(rows=[Row(1)])

    async def hangs(row, stopwatch):
        await asyncio.Event().wait()

    async def scenario(pump):
        await until(lambda: pump.in_hand)

    lived(scenario, queue, hangs)
    assert queue.released == [1]
    assert queue.settled == []


def test_rows_claimed_while_the_stop_came_are_handed_back(lived):
    """A claim in flight is not cancelled: its rows would be stranded until the lease ends."""
    queue = MemoryQueue()

    async def scenario(pump):
        await asyncio.sleep(1)
        queue.rows.append(Row(1))
        queue.during_claim.append(pump.stop)
        pump.wake(Wake.BROADCAST)
        await asyncio.sleep(1)

    lived(scenario, queue)
    assert queue.released == [1]
    assert queue.settled == []


def test_an_outcome_known_before_the_cut_is_written(lived):
    """Cancelling a handler does not cancel the writing of what it has returned."""
    queue = MemoryQueue(rows=[Row(1)])
    go = slow_to_settle(queue)

    async def scenario(pump):
        await until(lambda: pump.unwritten)
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(1.5, go.set)

    lived(scenario, queue)
    assert queue.settled == [(1, Sent(1))]
    assert queue.released == []


def test_a_row_whose_outcome_is_being_written_holds_no_slot(lived):
    """The next is at work meanwhile; but not for ever more of them, if none gets written."""
    queue, handled = MemoryQueue(rows=[Row(n) for n in range(20)]), []
    go = slow_to_settle(queue)

    async def note(row, stopwatch):
        handled.append(row.id)
        return Sent(row.id)

    async def scenario(pump):
        await asyncio.sleep(5)
        assert (len(handled), pump.unwritten) == (8, 8)
        go.set()
        await until(lambda: len(queue.settled) == 20, seconds=1)

    lived(scenario, queue, note, slots=4)


class Buggy(MemoryQueue):
    """A queue in which one call raises what nobody foresaw, so many times."""

    def __init__(self, call, times=2, **fields):
        super().__init__(**fields)
        self.call, self.times = call, times

    def _stumble(self, call):
        if call == self.call and self.times:
            self.times -= 1
            raise ArithmeticError("a bug")

    async def claim(self, limit):
        self._stumble("claim")
        return await super().claim(limit)

    async def recover(self):
        self._stumble("recover")
        return await super().recover()

    async def settle(self, row, outcome):
        self._stumble("settle")
        return await super().settle(row, outcome)

    async def release(self, rows):
        self._stumble("release")
        await super().release(rows)


@pytest.mark.parametrize("call", ["claim", "recover", "settle"])
def test_a_bug_in_the_queue_does_not_end_the_lane(lived, call):
    """It is logged, and asked again after a while."""
    queue = Buggy(call, rows=[Row(1), Row(2)])

    async def scenario(pump):
        await until(lambda: len(queue.settled) == 2)
        assert pump.problem is None

    lived(scenario, queue)


def test_a_lane_that_a_bug_holds_up_says_so(lived):
    """At /readyz, without what the exception quotes."""
    queue = Buggy("claim", times=10**6)
    observer = Quiet()

    async def scenario(pump):
        await until(lambda: observer.downs > 2)
        assert pump.problem == "a bug of the bridge, see the log: ArithmeticError"

    lived(scenario, queue, observer=observer)


def test_rows_that_cannot_be_handed_back_do_not_stop_the_stop(lived):
    """Their lease ends by itself."""
    queue = Buggy("release", rows=[Row(1)])

    async def hangs(_row, _laps):
        await asyncio.Event().wait()

    async def scenario(pump):
        await until(lambda: pump.in_hand == 1)

    lived(scenario, queue, hangs)


class Broken:
    """An observer of which every part raises."""

    def __getattr__(self, name):
        def raises(*_, **__):
            raise KeyError(name)

        return raises


def test_an_observer_that_raises_costs_no_row(lived):
    """It only watches."""
    queue = MemoryQueue(rows=[Row(1), Row(2)], fail=2)

    async def scenario(pump):
        pump.wake(Wake.CHANGES)
        await until(lambda: len(queue.settled) == 2)

    lived(scenario, queue, observer=Broken())


def test_a_claim_that_says_when_to_ask_again_needs_no_sweep(lived):
    """Rows that are due soon, and turns, are waited for by its word."""
    queue = MemoryQueue(again_in=7.0)

    async def scenario(pump):
        await asyncio.sleep(1)
        sweeps = queue.sweeps
        pump.wake(Wake.BROADCAST)
        await asyncio.sleep(6.5)
        assert queue.sweeps == sweeps
        queue.rows.append(Row(1))
        await until(lambda: queue.settled, seconds=0.6)
        assert queue.sweeps == sweeps

    lived(scenario, queue)


def test_slots_that_come_free_wait_for_the_claim_that_is_to_come_soon(lived):
    """While the bot's turns are all granted, one claim does for many rows."""
    queue = MemoryQueue(rows=[Row(n) for n in range(4)], again_in=0.2)

    async def one_by_one(row, stopwatch):
        await asyncio.sleep(0.03 * (row.id + 1))
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: len(queue.settled) == 4, seconds=0.19)
        assert len(queue.claims) == 1
        await until(lambda: len(queue.claims) == 2, seconds=0.2)

    lived(scenario, queue, one_by_one)


def test_a_row_that_waits_for_an_answer_of_the_queue_is_older_than_its_stopwatch(lived):
    """Its lease may have begun when it was asked for first."""
    queue, ages = MemoryQueue(rows=[Row(1)]), []
    claim = queue.claim

    async def late(limit):
        return replace(await claim(limit), asked_for=9.0)

    async def look(row, stopwatch):
        ages.append((stopwatch.age, stopwatch.seconds))
        return Sent(row.id)

    async def scenario(pump):
        await until(lambda: queue.settled)

    queue.claim = late
    lived(scenario, queue, look)
    ((age, seconds),) = ages
    assert 9 <= age < 9.1
    assert seconds == 0


def test_a_stop_hands_back_what_a_claim_took_that_was_not_answered(lived):
    """It is asked for once more."""
    queue = MemoryQueue(unanswered=[Row(7)])

    async def scenario(pump):
        await asyncio.sleep(1)

    lived(scenario, queue)
    assert queue.released == [7]


def test_a_row_that_may_have_been_sent_is_not_handed_back(lived):
    """Whoever does the work knows."""
    queue = MemoryQueue(rows=[Row(1), Row(2)])

    async def hangs(row, stopwatch):
        await asyncio.Event().wait()

    async def scenario(pump):
        await until(lambda: pump.in_hand == 2)

    lived(scenario, queue, hangs, undone=lambda row: row.id == 2)
    assert queue.released == [2]
