"""A bell that should have rung, and what its silence points at."""

from dataclasses import dataclass
from typing import assert_never

from realtime_bridge.doorbell.bells import Bell

CHECK = "`realtime-bridge check` tells which part fails"


@dataclass(frozen=True, slots=True)
class MissedRing:
    """What is known of a silent bell; ages in seconds."""

    bell: Bell
    table: str
    rows: int  # claimed without a ring since their insert
    first_row: float  # age of the first of them
    last_ring: float | None  # age of the bell's last ring for this table; None: it never rang
    rang_elsewhere: bool  # it rang for another table meanwhile
    other_rang: bool | None  # whether the other bell rang for these rows; None: there is no other

    @property
    def fields(self) -> dict[str, object]:
        """The fields of a log line about it."""
        last = self.last_ring
        return {
            "bell": self.bell.value,
            "table": self.table,
            "rows": self.rows,
            "first_row_s_ago": round(self.first_row, 1),
            "last_ring_s_ago": None if last is None else round(last, 1),
            "other_bell": {True: "rang", False: "silent", None: "not there"}[self.other_rang],
        }

    @property
    def hint(self) -> str:
        """Where to look.

        >>> print(MissedRing(Bell.CHANGES, "t", 1, 9.0, None, False, True).hint)
        the other bell rang for these rows, so the trigger works: Realtime does not pass on \
bridge.bells; `realtime-bridge check` tells which part fails
        """
        if self.rang_elsewhere:
            seen = f"it rang for another table meanwhile: look at the trigger of {self.table}"
        elif not self.other_rang:
            seen = f"look at the trigger of {self.table}, and at Realtime itself"
        else:
            match self.bell:
                case Bell.CHANGES:
                    fault = "Realtime does not pass on bridge.bells"
                case Bell.BROADCAST:
                    fault = "realtime.send fails, or Realtime does not pass on its messages"
                case _:
                    assert_never(self.bell)
            seen = f"the other bell rang for these rows, so the trigger works: {fault}"
        return f"{seen}; {CHECK}"
