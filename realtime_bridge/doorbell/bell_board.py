"""Which bells can be counted on."""

from collections.abc import Callable
from math import inf

from realtime_bridge.doorbell.bells import Bell, BellState
from realtime_bridge.doorbell.faults import Reason
from realtime_bridge.doorbell.hearing import Hearing
from realtime_bridge.doorbell.notifier import Notifier
from realtime_bridge.doorbell.timing import Timing
from realtime_bridge.model import Wake


class BellBoard:
    """The state of each bell: announced by the server, refused, deaf, or cut off from the database.

    The doorbell is healthy while at least one bell counts. The notifier is told of every change.
    """

    def __init__(
        self,
        wanted: frozenset[Bell],
        hearing: Hearing,
        notifier: Notifier,
        timing: Timing,
        clock: Callable[[], float],
    ) -> None:
        self.wanted = wanted
        self.hearing = hearing
        self.refused: frozenset[Bell] = frozenset()
        self.announced: dict[Bell, float] = {}  # the current connection's bells: since when ready
        self.health_since = clock()
        self._was_healthy = False
        self._stale: frozenset[Bell] = frozenset()  # announced before the database was away
        self._away_since: float | None = None  # the database
        self._notifier = notifier
        self._timing = timing
        self._clock = clock

    @property
    def counted(self) -> frozenset[Bell]:
        """The bells from which a ring can be expected."""
        if self._away_since is not None:
            return frozenset()
        return frozenset(self.announced) - self._stale - self.hearing.deaf

    @property
    def healthy(self) -> bool:
        """Whether a ring can be expected from at least one bell."""
        return bool(self.counted)

    @property
    def complete(self) -> bool:
        """Whether every bell that is wanted counts."""
        return self.counted == self.wanted

    @property
    def outdated(self) -> bool:
        """Whether a bell is missing or stale on the current connection."""
        return bool(self._stale or self.wanted - self.announced.keys())

    def state(self, bell: Bell) -> BellState:
        """Return the state of one bell."""
        if bell not in self.wanted:
            return BellState.OFF
        if bell not in self.announced:
            return BellState.REFUSED if bell in self.refused else BellState.DOWN
        if bell in self._stale or self._away_since is not None:
            return BellState.AWAY
        return BellState.DEAF if bell in self.hearing.deaf else BellState.READY

    def announce(self, bells: frozenset[Bell], *, private: bool) -> None:
        """Count on bells that the server calls ready, and wake for rows inserted before that."""
        for bell in sorted(bells):
            self.announced[bell] = self._clock()
            self.refused -= {bell}
            self._notifier.announced(bell, private=private)
            if bell in self.counted:
                self._notifier.ready(bell)
            self._notifier.wake(Wake.READY)
        self._health_changed()

    def rang(self, bell: Bell, table: str | None) -> None:
        """Pass on a ring, which also proves that the bell works."""
        self._notifier.wake(Wake(bell.value))
        counted, was_deaf = self.counted, bell in self.hearing.deaf
        self.hearing.rang(bell, table, self._clock())
        self._stale -= {bell}
        for healed in sorted(self.counted - counted):
            if was_deaf:
                self._notifier.heard_again(healed)
            self._notifier.ready(healed)
        self._health_changed()

    def refuse(self, bells: frozenset[Bell], text: str) -> None:
        """Record that the server will not ring these bells, and why."""
        self.refused |= bells
        for bell in sorted(bells):
            self._notifier.refused(bell, text)

    def suspect(self, bells: frozenset[Bell]) -> None:
        """Report bells that are silent and will be renewed for it."""
        for missed in self.hearing.missed_rings(bells, self.announced.keys(), self._clock()):
            self._notifier.silent(missed)

    def distrust(self, bells: frozenset[Bell]) -> None:
        """Stop counting on these bells, which are still silent, until they ring."""
        missed_rings = self.hearing.missed_rings(bells, self.announced.keys(), self._clock())
        self.hearing.distrust(bells)
        for missed in missed_rings:
            self._notifier.deaf(missed)
        self._report_if_down(Reason.DEAF)

    def withdraw(self) -> None:
        """Forget what was announced: another connection takes over."""
        self.announced = {}
        self._stale = frozenset()

    def lose(self, reason: Reason) -> None:
        """Count on nothing: the connection is gone, which explains rings that are missing."""
        self.hearing.excuse()
        self.withdraw()
        self._report_if_down(reason)

    def lose_database(self) -> None:
        """Count on nothing until the database is back."""
        if self._away_since is None:
            self._away_since = self._clock()
            self.hearing.excuse(before=inf)
            self._report_if_down(Reason.AWAY)

    def regain_database(self) -> bool:
        """Count on the bells again; False if the database was not away.

        If it was away for long, the server may have stopped listening to its changes.
        """
        if self._away_since is None:
            return False
        now, away_since = self._clock(), self._away_since
        self._away_since = None
        self.hearing.excuse(before=now + self._timing.database_grace)
        if now - away_since >= self._timing.stale_after:
            self._stale = frozenset({Bell.CHANGES} & self.announced.keys())
        for bell in sorted(self.counted):
            self._notifier.ready(bell)
        self._health_changed()
        return True

    def _report_if_down(self, reason: Reason) -> None:
        if self._health_changed():
            self._notifier.down(reason)

    def _health_changed(self) -> bool:
        changed = self.healthy is not self._was_healthy
        if changed:
            self._was_healthy = self.healthy
            self.health_since = self._clock()
        return changed
