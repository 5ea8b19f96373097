"""Whether the queue answers, and for how long it has not."""

from collections.abc import Callable, Iterator
from math import inf

from realtime_bridge.base import delays
from realtime_bridge.database import Refused, Unavailable

# While the queue is down it is asked at least so often: as often as a deaf doorbell makes a sweep.
WAIT_CAP_SECONDS = 5.0
# When it is up again, outcomes that waited are written first: a sweep before that would report
# their rows as uncertain. So a sweep waits for as long as the queue was down, but at most this
# long: other replicas have asked again by then too.
SETTLE_FIRST_SECONDS = 10.0


def waits() -> Iterator[float]:
    """Yield seconds between tries while the queue is down."""
    return delays(cap=WAIT_CAP_SECONDS)


class Condition:
    """What is wrong with the queue, and since when."""

    def __init__(
        self,
        down: Callable[[Unavailable | Refused], None],
        up: Callable[[], None],
        waits: Callable[[], Iterator[float]],
        clock: Callable[[], float],
    ) -> None:
        """`down(error)` is told of each call that failed, `up()` that the queue answers again."""
        self.problem: str | None = None  # why the queue does not answer
        self.settle_until = -inf  # no sweep before: outcomes that waited are written first
        self._down = down
        self._up = up
        self._waits = waits
        self._tries = waits()
        self._clock = clock
        self._down_since = inf
        self._told_down = False  # the observer knows of a call that failed, and of none since

    def failed(self, error: Unavailable | Refused) -> float:
        """Take note of a call without an answer; return when to ask again."""
        now = self._clock()
        self._down_since = min(self._down_since, now)
        self.problem = str(error)
        self.tell_down(error)
        again = now + next(self._tries)
        patience = min(again - self._down_since, SETTLE_FIRST_SECONDS)
        self.settle_until = again + patience
        return again

    def tell_down(self, error: Unavailable | Refused) -> None:
        """Report a call that failed, without more ado."""
        self._told_down = True
        self._down(error)

    def answered(self) -> None:
        """Take note that the queue answers."""
        self._down_since = inf
        self.problem = None
        self._tries = self._waits()
        if self._told_down:
            self._told_down = False
            self._up()
