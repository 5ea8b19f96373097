"""One sweep for all lanes: while nothing happens, one call a period looks after everything."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from realtime_bridge.model import Recovered
from realtime_bridge.pump import Queue
from realtime_bridge.rpc import Rpc

Row = TypeVar("Row")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the sweep that another lane asked for said of this one."""

    recovered: Recovered
    at: float
    busy: int  # how much had happened until then


class Sweep:
    """Asks for all lanes whenever one asks, and keeps the answers for the others.

    A kept answer is good while no lane does anything and it is young. What an old one said of
    rows that were recovered is added to the next.
    """

    def __init__(
        self,
        rpc: Rpc,
        *,
        lease: float,
        resend_uncertain: bool,
        request_leases: Mapping[str, float],
        keep: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lease`: of tma_events, in seconds, as the `request_leases` by table are.

        `resend_uncertain`: see `recover_tma_events`. `keep()`: seconds for which an answer is
        young.
        """
        self._rpc = rpc
        self._arguments = {
            "p_lease": f"{lease} seconds",
            "p_resend_uncertain": resend_uncertain,
            "p_request_leases": dict(request_leases),
        }
        self._keep = keep
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._kept: dict[str, _Kept] = {}
        self._busy = 0

    def over(self, lane: str, queue: Queue[Row, Result]) -> "Queue[Row, Result]":
        """Wrap a lane's queue: the same queue, which recovers by this sweep."""
        return _Swept(lane, queue, self)

    def stir(self) -> None:
        """Say that rows change hands: what is kept may be wrong from now on."""
        self._busy += 1

    async def recover(self, lane: str) -> Recovered:
        """Take back this lane's rows whose lease is over, and tell when its next row is due."""
        async with self._one_at_a_time:
            kept = self._kept.get(lane)
            if kept is None or not self._good(kept):
                await self._ask()
            kept = self._kept.pop(lane)
            return _aged(kept.recovered, self._clock() - kept.at)

    def _good(self, kept: _Kept) -> bool:
        return kept.busy == self._busy and self._clock() - kept.at <= self._keep()

    async def _ask(self) -> None:
        at, busy = self._clock(), self._busy
        answer = await self._rpc.call("sweep_tma", self._arguments)
        for lane, said in answer.items():
            before = self._kept.get(lane)
            recovered = Recovered.model_validate(said)
            if before is not None:
                recovered = _with_counts(recovered, before.recovered)
            self._kept[lane] = _Kept(recovered, at, busy)


class _Swept(Generic[Row, Result]):
    """A queue whose recover() is the common sweep."""

    def __init__(self, lane: str, queue: Queue[Row, Result], sweep: Sweep) -> None:
        self._lane = lane
        self._queue = queue
        self._sweep = sweep

    async def claim(self, limit: int) -> Sequence[Row]:
        self._sweep.stir()
        return await self._queue.claim(limit)

    async def settle(self, row: Row, outcome: Result) -> bool:
        try:
            return await self._queue.settle(row, outcome)
        finally:
            self._sweep.stir()  # after it: a retry or a new event may be due before all others

    async def release(self, rows: Sequence[Row]) -> None:
        await self._queue.release(rows)

    async def recover(self) -> Recovered:
        return await self._sweep.recover(self._lane)


def _aged(recovered: Recovered, seconds: float) -> Recovered:
    """What is due in ten seconds was due in eight, two seconds ago."""
    due = recovered.next_due_seconds
    if due is None:
        return recovered
    return recovered.model_copy(update={"next_due_seconds": max(due - seconds, 0.0)})


def _with_counts(recovered: Recovered, before: Recovered) -> Recovered:
    counts = ("returned", "resent", "uncertain")
    return recovered.model_copy(
        update={name: getattr(recovered, name) + getattr(before, name) for name in counts}
    )
