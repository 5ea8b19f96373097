"""Whether a bell that the server calls ready can be trusted: rows claimed without a ring tell."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from math import inf

from realtime_bridge.doorbell.bells import Bell
from realtime_bridge.doorbell.missed import MissedRing

BellOfTable = tuple[Bell, str]


@dataclass(frozen=True, slots=True)
class Silence:
    """Rows of one table that were claimed although one bell has not rung since their insert."""

    table: str
    rows: int
    inserted: float  # the earliest possible moment of the first insert
    since: float  # when the first was claimed, or when the process last overslept


class Hearing:
    """Remembers, across connections, which rings are missing and which bells are deaf.

    Whoever claims a row that should have rung reports when it was inserted. A bell that was ready
    by then and has not rung since is silent, until it rings for that table, however late. So there
    is one record per bell and table, however many rows there are.

    A silent bell is renewed once and trusted again (`suspect`). If it falls silent again without
    a ring in between, it does not count (`deaf`). A ring clears both. All times are seconds of one
    clock.
    """

    def __init__(self, tables: Iterable[str], skew: float = 0.0) -> None:
        """`tables`: those that ring. `skew`: by how much an insert may be older than reported."""
        self.tables = frozenset(tables)
        self._skew = skew
        self._rang_at: dict[BellOfTable, float] = {}
        self._silent: dict[BellOfTable, Silence] = {}
        self._suspect: set[BellOfTable] = set()
        self._deaf: set[BellOfTable] = set()
        self._excused_before = -inf

    @property
    def deaf(self) -> frozenset[Bell]:
        """The bells that do not count, because they are deaf for at least one table."""
        return frozenset(bell for bell, _ in self._deaf)

    @property
    def suspect(self) -> frozenset[Bell]:
        """The bells that were renewed for silence and are silent again."""
        return frozenset(bell for bell, _ in self._suspect & self._silent.keys())

    def rang(self, bell: Bell, table: str | None, at: float) -> None:
        """Record a ring for rows of `table` (None: it did not say which)."""
        for name in self.tables if table is None else self.tables & {table}:
            self._rang_at[bell, name] = at
            self._silent.pop((bell, name), None)
            self._suspect.discard((bell, name))
            self._deaf.discard((bell, name))

    def expect(
        self, table: str, inserted: Iterable[float], ready: Mapping[Bell, float], at: float
    ) -> None:
        """Check that rows claimed by now have rung.

        `inserted`: the earliest possible moment of each insert. `ready`: since when each bell is.
        """
        if table not in self.tables:
            return
        times = [time - self._skew for time in inserted]
        times = [time for time in times if time >= self._excused_before]
        for bell, since in ready.items():
            key = (bell, table)
            rang_at = max(since, self._rang_at.get(key, -inf))
            missed = [time for time in times if time > rang_at]
            if missed and key not in self._deaf:
                known = self._silent.get(key) or Silence(table, 0, min(missed), at)
                self._silent[key] = replace(known, rows=known.rows + len(missed))

    def silence(self, bell: Bell) -> Silence | None:
        """Return the longest silence of a bell."""
        of_bell = [silence for key, silence in self._silent.items() if key[0] is bell]
        return min(of_bell, key=lambda silence: silence.since, default=None)

    def last_ring(self, bell: Bell, table: str | None = None) -> float:
        """Return when a bell last rang for a table (None: for any of them); -inf: never."""
        tables = self.tables if table is None else {table}
        return max((self._rang_at.get((bell, name), -inf) for name in tables), default=-inf)

    def missed_rings(
        self, bells: Iterable[Bell], there: AbstractSet[Bell], at: float
    ) -> list[MissedRing]:
        """Describe the silence of those of these bells that are silent.

        `there`: all bells that could have rung.
        """
        silences = ((bell, self.silence(bell)) for bell in sorted(bells))
        return [
            self._missed_ring(bell, silence, there - {bell}, at)
            for bell, silence in silences
            if silence
        ]

    def overslept(self, at: float) -> None:
        """Start waiting anew: the process slept until now, and rings may wait to be read."""
        for key, silence in self._silent.items():
            self._silent[key] = replace(silence, since=at)

    def renewed(self, suspect: AbstractSet[Bell]) -> None:
        """Trust all bells again, on a new connection; `suspect` were renewed for silence."""
        self._suspect |= {key for key in self._silent if key[0] in suspect}
        self._silent.clear()

    def distrust(self, bells: AbstractSet[Bell]) -> None:
        """Stop counting on these bells, which are silent, until they ring."""
        deaf = {key for key in self._silent if key[0] in bells}
        self._deaf |= deaf
        for key in deaf:
            del self._silent[key]

    def excuse(self, before: float | None = None) -> None:
        """Forget the rings that are missing: there was a reason.

        `before`: from now on, rows inserted earlier than this are no evidence either.
        """
        self._silent.clear()
        if before is not None:
            self._excused_before = before

    def _missed_ring(
        self, bell: Bell, silence: Silence, others: AbstractSet[Bell], at: float
    ) -> MissedRing:
        rang_at = self.last_ring(bell, silence.table)
        since = max(rang_at, silence.inserted)
        others_rang = [self.last_ring(other, silence.table) > since for other in others]
        return MissedRing(
            bell=bell,
            table=silence.table,
            rows=silence.rows,
            first_row=at - silence.inserted - self._skew,
            last_ring=None if rang_at == -inf else at - rang_at,
            rang_elsewhere=self.last_ring(bell) > since,
            other_rang=any(others_rang) if others_rang else None,
        )
