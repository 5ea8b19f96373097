"""When the log is polled again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PollResult:
    """What one poll found: how many changes, and whether anybody had subscribed to one."""

    changes: int
    wanted: bool


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """Seconds between polls: `idle` after an empty one, `busy` after one that nobody wanted.

    `changes_per_second` is the most that the poller takes in; None for no limit.
    """

    busy: float
    idle: float
    changes_per_second: float | None

    def pause(self, found: PollResult) -> float:
        """Return how many seconds to wait after a poll.

        >>> schedule = PollSchedule(busy=0.1, idle=0.5, changes_per_second=500)
        >>> [schedule.pause(PollResult(n, wanted=False)) for n in (0, 1, 100)]
        [0.5, 0.1, 0.2]
        >>> [schedule.pause(PollResult(n, wanted=True)) for n in (1, 100)]  # at full speed
        [0.002, 0.2]
        """
        if not found.changes:
            return self.idle
        if self.changes_per_second is None:
            return 0.0
        working = found.changes / self.changes_per_second
        return working if found.wanted else max(self.busy, working)
