"""When the log is looked at again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at the log brought: how many changes, and whether anybody wanted one."""

    changes: int
    wanted: bool


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the log is looked at, in seconds: `idle` after nothing, else at least `busy`.

    `changes_per_second` is what it takes in at most; None for no limit.
    """

    busy: float
    idle: float
    changes_per_second: float | None

    def pause(self, found: Found) -> float:
        """Wait for so long after such a look.

        >>> pace = Pace(busy=0.1, idle=0.5, changes_per_second=500)
        >>> [pace.pause(Found(n, wanted=False)) for n in (0, 1, 100)]
        [0.5, 0.1, 0.2]
        >>> [pace.pause(Found(n, wanted=True)) for n in (1, 100)]  # at once, as far as it can
        [0.002, 0.2]
        """
        if not found.changes:
            return self.idle
        if self.changes_per_second is None:
            return 0.0
        working = found.changes / self.changes_per_second
        return working if found.wanted else max(self.busy, working)
