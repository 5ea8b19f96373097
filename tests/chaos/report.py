"""What a run did to its events, counted, and whether it may be so."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Report:
    """`rows`: the table at the end; `accepted`: the row ids of Telegram's messages, in order.

    `exposed` are rows that were past the fence when something happened to their process or to
    one of their connections; only these may have ended as uncertain.
    """

    mode: str
    rows: list[dict[str, Any]]
    accepted: list[int]
    exposed: set[int]
    mishaps: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def times(self) -> Counter[int]:
        """How often each row was accepted by Telegram."""
        return Counter(self.accepted)

    @property
    def stuck(self) -> list[int]:
        """Rows that never came to an end."""
        return [row["id"] for row in self.rows if row["status"] not in {"delivered", "failed"}]

    def failed(self, failure: str) -> list[int]:
        """Rows that failed for this reason."""
        return [row["id"] for row in self.rows if row["failure"] == failure]

    def table(self) -> str:
        """The numbers, for a person."""
        times, uncertain = self.times, self.failed("uncertain")
        failures = Counter(row["failure"] for row in self.rows if row["failure"])
        retried = sum(row["attempt"] > 1 for row in self.rows)
        lines = [
            ("events", len(self.rows)),
            ("accepted by Telegram once", sum(times[row["id"]] == 1 for row in self.rows)),
            ("accepted twice or more", sum(times[row["id"]] > 1 for row in self.rows)),
            ("never accepted", sum(times[row["id"]] == 0 for row in self.rows)),
            ("delivered", sum(row["status"] == "delivered" for row in self.rows)),
            *((f"failed: {failure}", count) for failure, count in sorted(failures.items())),
            ("  uncertain, had been accepted", sum(times[id_] > 0 for id_ in uncertain)),
            ("  uncertain, had not", sum(times[id_] == 0 for id_ in uncertain)),
            ("  rows past the fence at a mishap", len(self.exposed)),
            ("needed more than one attempt", retried),
            ("stuck", len(self.stuck)),
        ]
        heads = [f"{self.mode}, {self.seconds:.0f} s, {sum(self.mishaps.values())} mishaps"]
        numbers = [f"  {name:<36}{count:>7}" for name, count in lines]
        mishaps = [f"  {name:<40}{count:>3}" for name, count in sorted(self.mishaps.items())]
        return "\n".join([*heads, *numbers, "", *mishaps])

    def problems(self) -> list[str]:
        """Every promise that was broken, in words; none is what is expected."""
        found = {
            "stuck": self.stuck,
            "failed without a reason": self._unexplained(),
            "delivered, but Telegram does not have it": self._invented(),
            "out of order": self._overtaken(),
        }
        if self.mode == "at_most_once":
            found |= {
                "accepted twice": [id_ for id_, times in self.times.items() if times > 1],
                "uncertain without a cause": sorted(set(self.failed("uncertain")) - self.exposed),
            }
        else:
            found["never accepted"] = [r["id"] for r in self.rows if not self.times[r["id"]]]
        return [f"{what}: {ids}" for what, ids in found.items() if ids]

    def _unexplained(self) -> list[int]:
        return [
            row["id"]
            for row in self.rows
            if row["status"] == "failed" and not (row["failure"] and row["error"])
        ]

    def _invented(self) -> list[int]:
        return [
            row["id"]
            for row in self.rows
            if row["status"] == "delivered" and not self.times[row["id"]]
        ]

    def _overtaken(self) -> list[int]:
        """Rows that arrived for the first time before an earlier one of their chat.

        Rows that ended as uncertain are left out: a process that wakes up after its lease may
        send such a message late.
        """
        chats = {row["id"]: row["telegram_id"] for row in self.rows}
        certain = set(chats) - set(self.failed("uncertain"))
        arrivals = defaultdict(list)
        for id_ in dict.fromkeys(self.accepted):
            if id_ in certain:
                arrivals[chats[id_]].append(id_)
        return [late for ids in arrivals.values() for late, early in pairwise(ids) if late > early]
