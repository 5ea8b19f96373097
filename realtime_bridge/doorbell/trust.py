"""Whether a bell that the server calls ready can be believed."""

from math import inf

from realtime_bridge.doorbell.policy import Bell


class Hearing:
    """Counts how often each bell kept silent while the other rang.

    Rings that come close together are one occasion: a thousand rows of one statement are a
    thousand frames on one bell and a single frame on the other.
    """

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._counted = dict.fromkeys(Bell, -inf)
        self._unanswered = dict.fromkeys(Bell, 0)

    def rang(self, bell: Bell, at: float) -> None:
        """Take note of a ring at a moment of a clock that counts seconds."""
        self._unanswered[bell] = 0
        if at - self._counted[bell] < self._gap:
            return
        self._counted[bell] = at
        for other in Bell:
            if other is not bell:
                self._unanswered[other] += 1

    def silent(self, rings: int) -> frozenset[Bell]:
        """Return the bells that missed at least so many rings of the other one in a row."""
        return frozenset(bell for bell, missed in self._unanswered.items() if missed >= rings)


class Trust:
    """Remembers, across connections, which bells were found deaf.

    A bell that was found deaf is built anew once and believed again (`suspect`). Found deaf
    again without a ring in between, it does not count (`deaf`). A ring clears both.
    """

    def __init__(self) -> None:
        self.suspect: frozenset[Bell] = frozenset()
        self.deaf: frozenset[Bell] = frozenset()
        self._missed: dict[str, tuple[int, float]] = {}

    def rang(self, bell: Bell, table: str | None) -> None:
        """Take note of a ring for rows of `table` (None: it did not say which)."""
        self.suspect -= {bell}
        self.deaf -= {bell}
        if table is None:
            self._missed.clear()
        else:
            self._missed.pop(table, None)

    def missed(self, table: str, rows: int, at: float) -> None:
        """Take note of rows of `table` that were found at a moment and had not been rung for."""
        before, since = self._missed.get(table, (0, at))
        self._missed[table] = (before + rows, since)

    def missed_rows(self, now: float, grace: float) -> int:
        """Return how many rows of one table no bell rang for, `grace` seconds after the first."""
        return max((rows for rows, at in self._missed.values() if now - at >= grace), default=0)

    def rebuilt_for(self, bells: frozenset[Bell]) -> None:
        """Give these bells another chance: they were built anew because they kept silent."""
        self.suspect |= bells
        self._missed.clear()

    def lose(self, bells: frozenset[Bell]) -> None:
        """Stop counting on these bells until they ring."""
        self.deaf |= bells
        self._missed.clear()
