"""What a lane tells its observer."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import structlog

from realtime_bridge.base import Stopwatch
from realtime_bridge.model import Recovered, Wake
from realtime_bridge.worker.ports import Observer

log = structlog.get_logger()

Row = TypeVar("Row")
Result = TypeVar("Result")


class Reporter(Generic[Row, Result]):
    """Tells an observer about one lane; what the observer raises must not cost a row."""

    def __init__(self, lane: str, observer: Observer[Row, Result]) -> None:
        self.lane = lane
        self._observer = observer

    def woken(self, source: Wake) -> None:
        """Something rang."""
        self._tell(self._observer.woken, source)

    def claimed(self, rows: Sequence[Row], source: Wake, begun: float) -> None:
        """These rows are ours now."""
        self._tell(self._observer.claimed, rows, source, begun)

    def settled(self, row: Row, outcome: Result, stopwatch: Stopwatch, *, held: bool) -> None:
        """An outcome was written, or came too late."""
        self._tell(self._observer.settled, row, outcome, stopwatch, held=held)

    def recovered(self, recovered: Recovered) -> None:
        """A sweep took rows back."""
        self._tell(self._observer.recovered, recovered)

    def queue_down(self, error: Exception) -> None:
        """A call was not answered, or refused."""
        self._tell(self._observer.queue_down, error)

    def queue_up(self) -> None:
        """The queue answers again."""
        self._tell(self._observer.queue_up)

    def halted(self, why: str | None) -> None:
        """Nothing can be sent, or it can again."""
        self._tell(self._observer.halted, why)

    def _tell(self, observe: Callable[..., None], *what: Any, **more: Any) -> None:
        try:
            observe(self.lane, *what, **more)
        except Exception:
            log.exception("observer_raised", lane=self.lane)
