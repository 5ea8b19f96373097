"""What a lane is built from: a queue, a handler, an observer, and whoever sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from realtime_bridge.base import Stopwatch
from realtime_bridge.model import Recovered, Wake

Row = TypeVar("Row")
RowIn = TypeVar("RowIn", contravariant=True)
ResultIn = TypeVar("ResultIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


@dataclass(frozen=True, slots=True)
class Claim(Generic[Row]):
    """What a claim brought.

    `again_in`: seconds after which another may bring more, unless a bell rings or an outcome is
    written before. `inf`: there is nothing to wait for. None: who knows, a sweep can tell.
    `asked_for`: seconds since it was asked for first.
    """

    rows: Sequence[Row] = ()
    again_in: float | None = None
    asked_for: float = 0.0


class Queue(Protocol[Row, ResultIn]):
    """Where rows come from and outcomes go. Every method may raise Unavailable or Refused."""

    async def claim(self, limit: int) -> Claim[Row]:
        """Take up to `limit` due rows."""

    async def recall(self) -> Sequence[Row]:
        """Return the rows of a claim that was not answered, as far as that can be known."""

    async def settle(self, row: Row, outcome: ResultIn) -> bool:
        """Write an outcome; False if the row was no longer ours."""

    async def release(self, rows: Sequence[Row]) -> None:
        """Hand claims back for which nothing was done that cannot be undone."""


class Handler(Protocol[RowIn, ResultOut]):
    """Does the work of one row.

    It returns every outcome it can name. When it raises, nothing is settled: the fence on the
    row knows whether anything may have been sent, and the sweep decides when the lease is over.
    """

    async def __call__(self, row: RowIn, stopwatch: Stopwatch, /) -> ResultOut:
        """Handle one row, marking its stages on the stopwatch."""


class Observer(Protocol[RowIn, ResultIn]):
    """Told what happens, for logs and metrics; what it raises is logged and goes no further."""

    def woken(self, lane: str, source: Wake) -> None:
        """Something rang."""

    def claimed(self, lane: str, rows: Sequence[RowIn], source: Wake, begun: float) -> None:
        """These rows are ours now; `source` is what led to the claim, which was `begun` then.

        `begun` is a moment of the lane's clock. The source is SWEEP for rows that a sweep found
        although the lane had nothing to do.
        """

    def settled(
        self, lane: str, row: RowIn, outcome: ResultIn, stopwatch: Stopwatch, *, held: bool
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


class Sweeps(Protocol):
    """Whoever sweeps for a lane."""

    def soon(self) -> None:
        """Sweep within a second: a row may be due soon that nobody knows of."""
