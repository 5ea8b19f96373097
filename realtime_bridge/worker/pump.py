"""One lane of work: wake, claim, handle, settle.

The pump knows protocols only: its queue, its handler and what rings it are handed in, so that
every lane runs on it and its tests need no network.

Inside it are three deadlines: the next claim, the next sweep, and when the next row is due. A
wake moves the claim to now; so do a settled row (the next of its chat may go) and a full batch.

A row holds its slot until its outcome is known; while that is written the next row is at work.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any, Generic, Protocol, TypeVar

import structlog

from realtime_bridge.base import Stopwatch, delays
from realtime_bridge.database import Refused, Unavailable
from realtime_bridge.model import Halted, Lost, Recovered, Retry, Uncertain

log = structlog.get_logger()

Row = TypeVar("Row")
Result = TypeVar("Result")
RowIn = TypeVar("RowIn", contravariant=True)
ResultIn = TypeVar("ResultIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

# A wrong bot token fails every row alike: one row a minute finds out whether it was mended.
HALT_SECONDS = 60.0
# Rows that settle free slots one by one; claims wait this long for half of them to come free.
REFILL_SECONDS = 0.02
# A bell that rang for nothing due may have rung for a row of the near future: a sweep finds out
# when it is due, but not more often than this.
LOOK_AHEAD_SECONDS = 1.0
# What a cut-off handler gets to write down its outcome.
LAST_WORDS_SECONDS = 1.0
# While the queue is down it is asked at least so often: as often as a deaf doorbell makes a sweep.
WAIT_CAP_SECONDS = 5.0
# When it is up again, outcomes that waited are written first: a sweep before that would report
# their rows as uncertain. So a sweep waits for as long as the queue was down, but at most this
# long: other replicas have asked again by then too.
SETTLE_FIRST_SECONDS = 10.0


def _waits() -> Iterator[float]:
    return delays(cap=WAIT_CAP_SECONDS)


class Queue(Protocol[Row, ResultIn]):
    """Where rows come from and outcomes go. Every method may raise Unavailable or Refused."""

    async def claim(self, limit: int) -> Sequence[Row]:
        """Take up to `limit` due rows."""

    async def settle(self, row: Row, outcome: ResultIn) -> bool:
        """Write an outcome; False if the row was no longer ours."""

    async def release(self, rows: Sequence[Row]) -> None:
        """Hand claims back that were not started."""

    async def recover(self) -> Recovered:
        """Take back rows whose lease is over, and tell when the next row is due."""


class Handler(Protocol[RowIn, ResultOut]):
    """Does the work of one row.

    It returns every outcome it can name. When it raises, nothing is settled: the fence on the
    row knows whether anything may have been sent, and the sweep decides when the lease is over.
    """

    async def __call__(self, row: RowIn, laps: Stopwatch, /) -> ResultOut:
        """Handle one row, marking its stages on `laps`."""


class Observer(Protocol[RowIn, ResultIn]):
    """Told what happens, for logs and metrics; what it raises is logged and goes no further."""

    def woken(self, lane: str, source: str) -> None:
        """Something rang: changes, broadcast or ready."""

    def claimed(self, lane: str, rows: Sequence[RowIn], source: str, begun: float) -> None:
        """These rows are ours now; `source` is what led to the claim, which was `begun` then.

        `begun` is a moment of the pump's clock. The source is "sweep" for rows that a sweep found
        although the lane had nothing to do.
        """

    def settled(
        self, lane: str, row: RowIn, outcome: ResultIn, laps: Stopwatch, *, held: bool
    ) -> None:
        """An outcome was written (`held`), or refused because the row was not ours any more."""

    def recovered(self, lane: str, recovered: Recovered) -> None:
        """A sweep took rows back."""

    def queue_down(self, lane: str, error: Exception) -> None:
        """The queue did not answer, or refused; told of each call."""

    def queue_up(self, lane: str) -> None:
        """The queue answers (again)."""

    def halted(self, lane: str, why: str | None) -> None:
        """Nothing can be sent at all, or (None) it can again."""


class Pump(Generic[Row, Result]):
    """Claims as many rows as there are free slots, each time something wakes it."""

    def __init__(
        self,
        lane: str,
        queue: Queue[Row, Result],
        handler: Handler[Row, Result],
        observer: Observer[Row, Result],
        *,
        slots: int,
        interval: Callable[[], float],
        lease: float,
        hold: Callable[[], float] = lambda: 0.0,
        waits: Callable[[], Iterator[float]] = _waits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build a lane.

        `slots`: rows in hand at one time. `interval()`: seconds between sweeps, asked at each.
        `hold()`: seconds for which claiming makes no sense (Telegram told the bot to wait).
        `lease`: seconds for which an outcome that the queue refuses is tried again; while it
        answers none, or refuses all, each is tried for as long as this lane runs. `waits()`:
        seconds between tries while the queue is down.
        """
        self.lane = lane
        self.problem: str | None = None  # why the queue does not answer
        self.halted: str | None = None  # why nothing can be sent
        self._queue = queue
        self._handler = handler
        self._observer = observer
        self._slots = slots
        self._interval = interval
        self._lease = lease
        self._hold = hold
        self._waits = waits
        self._clock = clock
        self._stopping = False
        self._moved = asyncio.Event()  # a deadline came nearer
        self._source = "start"
        self._claim_at = -inf
        self._due_at = inf  # as the last sweep knew it, or a retry that came after
        self._sweep_at = -inf
        self._swept_at = -inf
        self._down_since = inf
        self._told_down = False  # the observer knows of a call that failed, and of none since
        self._settle_until = -inf  # no sweep before
        self._not_before = -inf  # while the queue is down or sending is halted
        self._rang = False  # since the last sweep: a row may be due soon of which it did not know
        self._busy = False  # since the last sweep: rows that wait may do so for others to be sent
        self._more = False  # there may be rows that wait for a slot
        self._in_hand: dict[asyncio.Task[None], Row] = {}
        self._settling: set[asyncio.Task[None]] = set()

    @property
    def in_hand(self) -> int:
        """Rows that are being handled now."""
        return len(self._in_hand)

    @property
    def unwritten(self) -> int:
        """Outcomes that are known and not yet written."""
        return len(self._settling)

    @property
    def _next_sweep(self) -> float:
        return max(self._sweep_at, self._settle_until)

    def wake(self, source: str) -> None:
        """Say that there may be work; callable any number of times, from callbacks."""
        self._tell(self._observer.woken, source)
        self._rang = self._rang or source in {"changes", "broadcast"}
        self._claim_by(self._clock(), source)

    def sweep_soon(self) -> None:
        """Ask `interval()` again: it became shorter."""
        self._sweep_at = min(self._sweep_at, self._swept_at + self._interval())
        self._moved.set()

    async def run(self) -> None:
        """Work until stop(); rows in hand are then still being handled (see finish)."""
        waits = self._waits()
        while not self._stopping:
            try:
                asked = await self.step()
            except (Unavailable, Refused) as error:
                self._down(error, next(waits))
            except Exception as error:  # a bug, which must not end the lane
                log.exception("lane_bug", lane=self.lane)
                why = f"a bug of the bridge, see the log: {type(error).__name__}"
                self._down(Unavailable(why), next(waits))
            else:
                if asked:
                    self._up()
                    waits = self._waits()
            await self._rest()

    async def step(self) -> bool:
        """Do what is due: the sweep, the claim, both or neither. True if the queue was asked."""
        asked = False
        if self._clock() >= self._next_sweep:
            await self._sweep()
            asked = True
        if self._clock() >= min(self._claim_at, self._due_at):
            asked = await self._claim() or asked
        return asked

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping = True
        self._moved.set()

    async def finish(self, grace: float) -> None:
        """Let rows in hand finish, and outcomes be written, for `grace` seconds; then cut them off.

        A row cut off before its fence is handed back; one cut off behind it stays as it is, and
        a sweep reports it as uncertain when its lease is over.
        """
        self.stop()
        until = self._clock() + grace
        if self._in_hand:
            await asyncio.wait(list(self._in_hand), timeout=grace)
        late = dict(self._in_hand)
        rows = list(late.values())
        for task in late:
            task.cancel()
        await self._last_words(max(until - self._clock(), 0) + LAST_WORDS_SECONDS)
        if rows:
            log.warning("cut_off", lane=self.lane, rows=len(rows), grace_seconds=grace)
            await self._hand_back(rows)

    def _down(self, error: Unavailable | Refused, wait: float) -> None:
        """The queue did not answer: ask again after `wait` seconds, by a claim."""
        now = self._clock()
        self._down_since = min(self._down_since, now)
        self.problem = str(error)
        self._tell_down(error)
        self._not_before = now + wait
        patience = min(self._not_before - self._down_since, SETTLE_FIRST_SECONDS)
        self._settle_until = self._not_before + patience
        self._claim_by(self._not_before, "back")

    def _up(self) -> None:
        self._down_since = inf
        self.problem = None
        if self._told_down:
            self._told_down = False
            self._tell(self._observer.queue_up)

    def _tell(self, observer: Callable[..., None], *what: Any, **more: Any) -> None:
        """Tell the observer; what it raises must not cost a row."""
        try:
            observer(self.lane, *what, **more)
        except Exception:
            log.exception("observer_raised", lane=self.lane)

    def _tell_down(self, error: Unavailable | Refused) -> None:
        self._told_down = True
        self._tell(self._observer.queue_down, error)

    async def _last_words(self, seconds: float) -> None:
        """Give outcomes that are known some time more to be written."""
        if self._settling:
            _, unwritten = await asyncio.wait(list(self._settling), timeout=seconds)
            for task in unwritten:
                task.cancel()

    async def _sweep(self) -> None:
        self._rang = False  # before it, so that a ring during it is kept
        recovered = await self._queue.recover()
        self._swept_at = self._clock()
        self._sweep_at = self._swept_at + self._interval()
        if recovered.returned or recovered.resent or recovered.uncertain:
            self._tell(self._observer.recovered, recovered)
        self._due_at = inf
        match recovered.next_due_seconds:
            case None:
                pass
            case seconds if seconds <= 0:
                self._claim_by(self._clock(), "backlog" if self._busy else "sweep")
                self._look_ahead()  # for the one after it
            case seconds:
                self._due_at = self._clock() + seconds
        self._busy = bool(self._in_hand)

    async def _claim(self) -> bool:
        source = self._source if self._claim_at <= self._due_at else "due"
        if self._due_at <= self._clock():
            self._due_at = inf
            self._look_ahead()  # for the one after it
        self._claim_at = inf  # before the claim, so that a wake during it is kept
        wanted = self._wanted()
        if wanted <= 0:
            self._more = True  # the next row that finishes asks again
            return False
        begun = self._clock()
        try:
            rows = await self._queue.claim(wanted)
        except BaseException:
            self._claim_by(self._clock(), source)
            raise
        if self._stopping:
            await self._hand_back(rows)
            return True
        if rows:
            self._tell(self._observer.claimed, rows, source, begun)
        elif self._rang:
            self._look_ahead()
        for row in rows:
            self._hand_out(row)
        self._more = len(rows) == wanted
        if self._more:
            self._claim_by(self._clock(), source)
        return True

    def _wanted(self) -> int:
        """How many rows may be claimed: the free slots, unless outcomes cannot be written."""
        slots = 1 if self.halted else self._slots
        return min(slots, 2 * slots - self.unwritten) - self.in_hand

    def _look_ahead(self) -> None:
        """Sweep soon, to learn when the next row is due."""
        self._sweep_at = min(self._sweep_at, self._swept_at + LOOK_AHEAD_SECONDS)
        self._moved.set()

    def _claim_by(self, when: float, source: str) -> None:
        if when < self._claim_at:
            self._claim_at, self._source = when, source
            self._moved.set()

    async def _rest(self) -> None:
        """Wait for the next deadline, which may come nearer meanwhile."""
        while not self._stopping:
            self._moved.clear()
            next_at = max(self._not_before, min(self._claim_at, self._due_at, self._next_sweep))
            seconds = max(next_at - self._clock(), self._hold())
            if seconds <= 0:
                return
            try:
                async with asyncio.timeout(seconds):
                    await self._moved.wait()
            except TimeoutError:
                return

    def _hand_out(self, row: Row) -> None:
        task = asyncio.create_task(self._handle(row))
        self._in_hand[task] = row
        self._busy = True
        task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        """A slot is free."""
        del self._in_hand[task]
        if self._more:
            self._refill()

    def _settled(self, task: asyncio.Task[None]) -> None:
        """The next row of the chat may go."""
        self._settling.discard(task)
        self._refill()

    def _refill(self) -> None:
        wait = 0.0 if 2 * len(self._in_hand) <= self._slots else REFILL_SECONDS
        self._claim_by(self._clock() + wait, "settled")

    async def _handle(self, row: Row) -> None:
        laps = Stopwatch(self._clock)
        try:
            outcome = await self._handler(row, laps)
        except Exception:
            log.exception("handler_raised", lane=self.lane)
            return
        # A task of its own: an outcome that is known gets written, stop or no stop.
        settling = asyncio.create_task(self._settle(row, outcome, laps))
        self._settling.add(settling)
        settling.add_done_callback(self._settled)

    async def _settle(self, row: Row, outcome: Result, laps: Stopwatch) -> None:
        until = self._clock() + self._lease
        for wait in self._waits():
            try:
                held = await self._queue.settle(row, outcome)
            except Unavailable as error:
                # Kept beyond the lease: while the queue is away nobody else gets the row either.
                self._tell_down(error)
                await asyncio.sleep(wait)
            except Refused as error:
                self._tell_down(error)
                if self._clock() > until and not error.of_all:
                    log.error("settle_refused", lane=self.lane, error=str(error))
                    return
                await asyncio.sleep(wait)
            except Exception as error:
                # A bug: it may pass, with the next version of a function.
                log.exception("settle_raised", lane=self.lane, error=type(error).__name__)
                if self._clock() > until:
                    return
                await asyncio.sleep(wait)
            else:
                laps.lap("settle")
                self._tell(self._observer.settled, row, outcome, laps, held=held)
                self._follow(outcome)
                return

    def _follow(self, outcome: Result) -> None:
        """What an outcome means for the lane as a whole."""
        match outcome:
            case Halted(why, after):
                self._not_before = self._clock() + (HALT_SECONDS if after is None else after)
                self._set_halted(why)
            case Retry(after=None) | Uncertain():  # when it is tried again, if ever, a sweep tells
                self._look_ahead()
            case Lost():
                pass
            case Retry(after=float(after)):
                self._due_at = min(self._due_at, self._clock() + after)
                self._moved.set()
            case _:
                self._set_halted(None)

    def _set_halted(self, why: str | None) -> None:
        if why != self.halted:
            self.halted = why
            self._tell(self._observer.halted, why)

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
