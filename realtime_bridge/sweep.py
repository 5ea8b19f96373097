"""One sweep for all lanes: while nothing happens, one call a period looks after everything."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from realtime_bridge.model import Recovered
from realtime_bridge.pump import Queue
from realtime_bridge.rpc import Rpc, Unavailable, shaped

Row = TypeVar("Row")
Result = TypeVar("Result")

_SWEPT = TypeAdapter(dict[str, Recovered])  # by lane


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a common sweep said of a lane."""

    recovered: Recovered
    at: float
    moves: int  # the lane's, until then


class Follower(Generic[Row, Result]):
    """A queue that need not sweep itself while another lane's sweep tells about it as well.

    What it was told is good for one answer, while it is young and the lane has done nothing
    since.
    """

    def __init__(
        self,
        queue: Queue[Row, Result],
        wake: Callable[[], None],
        keep: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a queue; `wake()` is called when there is something to claim.

        `keep()`: the seconds for which what was told is young.
        """
        self.moves = 0
        self._queue = queue
        self._wake = wake
        self._keep = keep
        self._clock = clock
        self._kept: _Kept | None = None

    def tell(self, recovered: Recovered, at: float, moves: int) -> None:
        """Hear what a sweep that began `at` this time, and after so many moves, said."""
        if self._kept is not None:
            recovered = _with_counts(recovered, self._kept.recovered)
        self._kept = _Kept(recovered, at, moves)
        if recovered.next_due_seconds == 0:
            self._wake()

    async def claim(self, limit: int) -> Sequence[Row]:
        """Take rows."""
        self.moves += 1
        return await self._queue.claim(limit)

    async def settle(self, row: Row, outcome: Result) -> bool:
        """Write an outcome; a retry may be due before all others."""
        try:
            return await self._queue.settle(row, outcome)
        finally:
            self.moves += 1

    async def release(self, rows: Sequence[Row]) -> None:
        """Hand claims back."""
        await self._queue.release(rows)

    async def recover(self) -> Recovered:
        """Say what it was told, or sweep."""
        kept, self._kept = self._kept, None
        if kept is not None and kept.moves == self.moves:
            age = self._clock() - kept.at
            if age <= self._keep():
                return _aged(kept.recovered, age)
        try:
            recovered = await self._queue.recover()
        except BaseException:
            self._kept = kept
            raise
        return recovered if kept is None else _with_counts(recovered, kept.recovered)


class Leader(Generic[Row, Result]):
    """The queue of tma_events, whose sweep is that of its followers too.

    Not the other way round: after an outage the lane of events waits with its sweep until what
    it has sent is written down, and nobody else may take those rows back meanwhile.
    """

    def __init__(
        self,
        queue: Queue[Row, Result],
        rpc: Rpc,
        *,
        lane: str,
        lease: float,
        resend_uncertain: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lease`: of the lane's own rows, in seconds. `resend_uncertain`: see sweep_tma."""
        self._queue = queue
        self._rpc = rpc
        self._lane = lane
        self._lease = lease
        self._resend_uncertain = resend_uncertain
        self._clock = clock
        self._followers: dict[str, Follower[Any, Any]] = {}
        self._leases: dict[str, float] = {}

    def lead(self, lane: str, lease: float, follower: "Follower[Any, Any]") -> None:
        """Sweep this request table as well."""
        self._followers[lane] = follower
        self._leases[lane] = lease

    async def claim(self, limit: int) -> Sequence[Row]:
        """Take rows."""
        return await self._queue.claim(limit)

    async def settle(self, row: Row, outcome: Result) -> bool:
        """Write an outcome."""
        return await self._queue.settle(row, outcome)

    async def release(self, rows: Sequence[Row]) -> None:
        """Hand claims back."""
        await self._queue.release(rows)

    async def recover(self) -> Recovered:
        """Sweep all lanes, and tell the others what was said of them.

        A lane of which nothing was said sweeps itself, and hears why.
        """
        at = self._clock()
        moves = {lane: follower.moves for lane, follower in self._followers.items()}
        answer = await self._rpc.call(
            "sweep_tma",
            {
                "p_lease": f"{self._lease} seconds",
                "p_resend_uncertain": self._resend_uncertain,
                "p_request_leases": self._leases,
            },
        )
        swept = shaped(_SWEPT, "sweep_tma", answer)
        if self._lane not in swept:
            raise Unavailable(f"sweep_tma says nothing of {self._lane}")
        for lane, follower in self._followers.items():
            if lane in swept:
                follower.tell(swept[lane], at, moves[lane])
        return swept[self._lane]


def _aged(recovered: Recovered, seconds: float) -> Recovered:
    """What is due in ten seconds was due in twelve, two seconds ago."""
    due = recovered.next_due_seconds
    if due is None:
        return recovered
    return recovered.model_copy(update={"next_due_seconds": max(due - seconds, 0.0)})


def _with_counts(recovered: Recovered, before: Recovered) -> Recovered:
    """Add what was recovered before: counts go to the log, and must not get lost."""
    counts = ("returned", "resent", "uncertain")
    return recovered.model_copy(
        update={name: getattr(recovered, name) + getattr(before, name) for name in counts}
    )
