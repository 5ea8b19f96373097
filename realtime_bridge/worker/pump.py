"""One lane of work: wake, claim, handle, settle.

The pump knows protocols only: its queue, its handler and what rings it are handed in, so that
every lane runs on it and its tests need no network.

A wake moves the next claim to now; so do a settled row (the next of its chat may go) and a full
batch. A row holds its slot until its outcome is known; while that is written the next row is at
work.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import structlog

from realtime_bridge.base import Stopwatch
from realtime_bridge.database import Refused, Unavailable
from realtime_bridge.model import Recovered, Wake
from realtime_bridge.outcomes import Halted, Lost, Retry, Uncertain
from realtime_bridge.worker.condition import Condition, waits
from realtime_bridge.worker.outcome_writer import OutcomeWriter
from realtime_bridge.worker.ports import Handler, Observer, Queue, Sweeps
from realtime_bridge.worker.reporter import Reporter
from realtime_bridge.worker.schedule import Schedule
from realtime_bridge.worker.slots import Slots

log = structlog.get_logger()

Row = TypeVar("Row")
Result = TypeVar("Result")

# A wrong bot token fails every row alike: one row a minute finds out whether it was mended.
HALT_SECONDS = 60.0
# Rows that settle free slots one by one; claims wait this long for half of them to come free.
REFILL_SECONDS = 0.02
# What a cut-off handler gets to write down its outcome.
LAST_WORDS_SECONDS = 1.0


class Pump(Generic[Row, Result]):
    """Claims as many rows as there are free slots, each time something wakes it."""

    def __init__(
        self,
        lane: str,
        queue: Queue[Row, Result],
        handler: Handler[Row, Result],
        observer: Observer[Row, Result],
        sweeper: Sweeps,
        *,
        slots: int,
        lease: float,
        undone: Callable[[Row], bool] = lambda _: True,
        waits: Callable[[], Iterator[float]] = waits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build a lane.

        `slots`: rows in hand at one time. `lease`: seconds for which an outcome that the queue
        refuses is tried again. `undone(row)`: whether its handler, if it is cut off now, has left
        nothing behind, so that the row may be handed back. `waits()`: seconds between tries while
        the queue is down.
        """
        self._queue = queue
        self._handler = handler
        self._sweeper = sweeper
        self._report = Reporter(lane, observer)
        self._slots: Slots[Row] = Slots(slots, undone)
        self._schedule = Schedule(clock)
        self._condition = Condition(self._report.queue_down, self._report.queue_up, waits, clock)
        self._writer = OutcomeWriter(
            lane, queue, lease=lease, failed=self._condition.tell_down, waits=waits, clock=clock
        )

    @property
    def lane(self) -> str:
        """The name of the lane, which is that of its table."""
        return self._report.lane

    @property
    def problem(self) -> str | None:
        """Why the queue does not answer."""
        return self._condition.problem

    @property
    def halted(self) -> str | None:
        """Why nothing can be sent."""
        return self._slots.halted

    @property
    def in_hand(self) -> int:
        """Rows that are being handled now."""
        return self._slots.in_hand

    @property
    def unwritten(self) -> int:
        """Outcomes that are known and not yet written."""
        return self._writer.unwritten

    def wake(self, source: Wake) -> None:
        """Say that there may be work; callable any number of times, from callbacks."""
        self._report.woken(source)
        self._schedule.wake(source)

    @property
    def settle_until(self) -> float:
        """The moment before which no sweep should come: outcomes that waited are written first."""
        return self._condition.settle_until

    def ask_by(self, when: float) -> None:
        """Ask the queue then at the latest: it did not answer before."""
        self._schedule.claim_by(when, Wake.BACK)

    def tell_down(self, error: Unavailable | Refused) -> None:
        """Report a call for this lane that failed; the lane's next answer ends it."""
        self._condition.tell_down(error)

    def sweeping(self) -> None:
        """Hear that a sweep begins."""
        self._schedule.sweeping()

    def swept(self, recovered: Recovered) -> None:
        """Hear what the sweep found in this lane."""
        if recovered.returned or recovered.resent or recovered.uncertain:
            self._report.recovered(recovered)
        busy = self._slots.swept()
        due_in = recovered.next_due_seconds
        if due_in is None or due_in > 0:
            self._schedule.swept(due_in)
            return
        self._schedule.swept(None)
        self._schedule.claim_by(self._schedule.now(), Wake.BACKLOG if busy else Wake.SWEEP)
        self._sweeper.soon()  # for the one after it

    async def run(self) -> None:
        """Work until stop(); rows in hand are then still being handled (see finish)."""
        while not self._schedule.stopped:
            try:
                asked = await self.step()
            except (Unavailable, Refused) as error:
                self._failed(error)
            except Exception as error:  # a bug, which must not end the lane
                log.exception("lane_bug", lane=self.lane)
                why = f"a bug of the bridge, see the log: {type(error).__name__}"
                self._failed(Unavailable(why))
            else:
                if asked:
                    self._condition.answered()
            await self._schedule.rest()

    async def step(self) -> bool:
        """Claim, if it is time to. True if the queue was asked."""
        reason = self._schedule.take()  # before the claim, so that a wake during it is kept
        if reason is None:
            return False
        source, was_due = reason
        if was_due:
            self._sweeper.soon()  # for the one after it
        wanted = self._slots.wanted(self.unwritten)
        if wanted <= 0:
            self._slots.more = True  # the next row that finishes asks again
            return False
        await self._claim(wanted, source)
        return True

    def stop(self) -> None:
        """Claim nothing more."""
        self._schedule.stop()

    async def finish(self, grace: float) -> None:
        """Let rows in hand finish, and outcomes be written, for `grace` seconds; then cut them off.

        A row cut off before it may have been sent is handed back; one cut off after that stays as
        it is, and a sweep reports it as uncertain when its lease is over. So are rows of a claim
        that was never answered.
        """
        self.stop()
        until = self._schedule.now() + grace
        await self._recall()
        rows = await self._slots.cut_off(max(until - self._schedule.now(), 0))
        await self._writer.last_words(max(until - self._schedule.now(), 0) + LAST_WORDS_SECONDS)
        if rows:
            log.warning("cut_off", lane=self.lane, rows=len(rows), grace_seconds=grace)
            await self._hand_back(rows)

    def _failed(self, error: Unavailable | Refused) -> None:
        """The queue did not answer: ask again after a while, by a claim."""
        again = self._condition.failed(error)
        self._schedule.hold_until(again)
        self.ask_by(again)

    async def _claim(self, wanted: int, source: Wake) -> None:
        begun = self._schedule.now()
        try:
            claim = await self._queue.claim(wanted)
        except BaseException:
            self._schedule.claim_by(self._schedule.now(), source)
            raise
        rows = claim.rows
        if self._schedule.stopped:
            await self._hand_back(rows)
            return
        self._schedule.told(claim.again_in)
        if rows:
            self._report.claimed(rows, source, begun)
        elif self._schedule.rang:
            self._look_ahead()
        for row in rows:
            stopwatch = Stopwatch(self._schedule.now, claim.asked_for)
            self._slots.put(row, self._handle(row, stopwatch), self._freed)
        self._slots.more = len(rows) == wanted
        if self._slots.more:
            self._schedule.claim_by(self._schedule.now(), source)

    def _freed(self) -> None:
        if self._slots.more:
            self._refill()

    def _refill(self) -> None:
        """Claim for the slots that are free, or when more of them are."""
        wait = 0.0 if 2 * self.in_hand <= self._slots.limit else REFILL_SECONDS
        self._schedule.refill_in(wait)

    def _look_ahead(self) -> None:
        """Let a sweep say when the next row is due, unless claims say it."""
        if not self._schedule.informed:
            self._sweeper.soon()

    async def _handle(self, row: Row, stopwatch: Stopwatch) -> None:
        try:
            outcome = await self._handler(row, stopwatch)
        except Exception:
            log.exception("handler_raised", lane=self.lane)
            return

        def written(held: bool) -> None:  # noqa: FBT001 - all there is to say
            self._report.settled(row, outcome, stopwatch, held=held)
            self._follow(outcome)

        # When it is done the next row of the chat may go.
        self._writer.write(row, outcome, stopwatch, written, self._refill)

    def _follow(self, outcome: Result) -> None:
        """What an outcome means for the lane as a whole."""
        match outcome:
            case Halted(why, after):
                wait = HALT_SECONDS if after is None else after
                self._schedule.hold_until(self._schedule.now() + wait)
                self._halt(why)
            case Retry(after=None) | Uncertain():  # when it is tried again is the queue's to say
                self._look_ahead()
            case Lost():
                pass
            case Retry(after=float(after)):
                self._schedule.due_in(after)
            case _:
                self._halt(None)

    def _halt(self, why: str | None) -> None:
        if why != self.halted:
            self._slots.halted = why
            self._report.halted(why)

    async def _recall(self) -> None:
        """Hand back what a claim took whose answer was lost."""
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                rows = await self._queue.recall()
        except (Unavailable, Refused, TimeoutError) as error:
            log.warning("recall_failed", lane=self.lane, error=str(error))
        except Exception:
            log.exception("recall_failed", lane=self.lane)
        else:
            await self._hand_back(rows)

    async def _hand_back(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._queue.release(rows)
        except (Unavailable, Refused, TimeoutError) as error:
            log.warning("release_failed", lane=self.lane, rows=len(rows), error=str(error))
        except Exception:
            log.exception("release_failed", lane=self.lane, rows=len(rows))
