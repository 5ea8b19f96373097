"""Whether a bell that the server calls ready can be believed: each row claimed is a fact."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from realtime_bridge.doorbell.policy import Bell

Line = tuple[Bell, str]  # one bell for one table


@dataclass(frozen=True, slots=True)
class Silence:
    """Rows of one table that were claimed without a ring of one bell since their insert."""

    table: str
    rows: int
    inserted: float  # the first of them, at the earliest
    since: float  # when it was claimed, or when we woke up afterwards


class Hearing:
    """Remembers, across connections, which rings are missing and which bells were found deaf.

    Whoever claims a row that should have rung says when it was inserted. A bell that was ready
    by then and has not rung since is silent; its next ring for that table, however late, ends
    that. So there is one record for each bell and table, however many rows there are.

    A silent bell is renewed once and believed again (`suspect`). Silent again without a ring in
    between, it does not count (`deaf`). A ring clears both. Times are of one clock, in seconds.
    """

    def __init__(self, tables: Iterable[str]) -> None:
        """`tables`: those whose rings are missed."""
        self._tables = frozenset(tables)
        self._heard: dict[Line, float] = {}
        self._silent: dict[Line, Silence] = {}
        self._suspect: set[Line] = set()
        self._deaf: set[Line] = set()

    @property
    def deaf(self) -> frozenset[Bell]:
        """The bells that do not count, because they are deaf for one table at least."""
        return frozenset(bell for bell, _ in self._deaf)

    @property
    def suspect(self) -> frozenset[Bell]:
        """The bells that were renewed for a silence that goes on."""
        return frozenset(bell for bell, _ in self._suspect & self._silent.keys())

    def rang(self, bell: Bell, table: str | None, at: float) -> None:
        """Take note of a ring for rows of `table` (None: it did not say which)."""
        for name in self._tables if table is None else self._tables & {table}:
            self._heard[bell, name] = at
            self._silent.pop((bell, name), None)
            self._suspect.discard((bell, name))
            self._deaf.discard((bell, name))

    def expect(
        self, table: str, inserted: Iterable[float], ready: Mapping[Bell, float], at: float
    ) -> None:
        """Look for the rings of rows that were claimed by now.

        `inserted`: the earliest moment of each insert. `ready`: since when each bell is.
        """
        if table not in self._tables:
            return
        times = list(inserted)
        for bell, since in ready.items():
            line = (bell, table)
            heard = max(since, self._heard.get(line, -inf))
            unheard = [time for time in times if time > heard]
            if unheard and line not in self._deaf:
                before = self._silent.get(line) or Silence(table, 0, min(unheard), at)
                rows = before.rows + len(unheard)
                self._silent[line] = Silence(table, rows, before.inserted, before.since)

    def silence(self, bell: Bell) -> Silence | None:
        """Return the longest silence of a bell."""
        all_of_it = [silence for line, silence in self._silent.items() if line[0] is bell]
        return min(all_of_it, key=lambda silence: silence.since, default=None)

    def heard(self, bell: Bell, table: str) -> float:
        """Return when a bell last rang for a table; -inf: never."""
        return self._heard.get((bell, table), -inf)

    def heard_at_all(self, bell: Bell) -> float:
        """Return when a bell last rang for one of the tables; -inf: never."""
        return max((self.heard(bell, table) for table in self._tables), default=-inf)

    def woke(self, at: float) -> None:
        """Be patient anew: we slept until now, and rings may wait to be read."""
        for line, silence in self._silent.items():
            self._silent[line] = Silence(silence.table, silence.rows, silence.inserted, at)

    def renewed_for(self, bells: frozenset[Bell]) -> None:
        """Give all bells another chance, on a new connection; these are renewed for silence."""
        self._suspect |= {line for line in self._silent if line[0] in bells}
        self._silent.clear()

    def lose(self, bells: frozenset[Bell]) -> None:
        """Stop counting on these bells, which are silent, until they ring."""
        lost = {line for line in self._silent if line[0] in bells}
        self._deaf |= lost
        for line in lost:
            del self._silent[line]

    def excuse(self) -> None:
        """Forget what is missing: there was a reason."""
        self._silent.clear()
