"""What a run did to its events, counted, and whether it may be so."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.tellings import Tellings

ENDS = {"delivered", "failed", "withdrawn", "muted"}


@dataclass(frozen=True)
class Report:
    """`rows`: the table at the end; `told`: what Telegram's messages tell of them.

    `exposed` are rows that were past the fence when something happened to their process or to
    one of their connections; only these may have ended as uncertain. `withdrawals` are the rows
    that their users wanted back, and whether they were told that it is done.
    """

    mode: str
    rows: list[dict[str, Any]]
    told: Tellings
    exposed: set[int]
    withdrawals: dict[int, bool] = field(default_factory=dict)
    mishaps: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def times(self) -> Counter[int]:
        """How many messages tell each row. An edit that was repeated is no second message."""
        return Counter({row["id"]: len(self.told.messages_of(row["id"])) for row in self.rows})

    @property
    def stuck(self) -> list[int]:
        """Rows that never came to an end."""
        return [row["id"] for row in self.rows if row["status"] not in ENDS]

    @property
    def kinds(self) -> dict[str, int]:
        """How much there was of what is not one event in one message."""
        ended = Counter(row["status"] for row in self.rows)
        return {
            "told by a digest": len({id_ for one in self.told.digests for id_ in one.rows}),
            "edits": self.told.edits,
            "withdrawn by their users": sum(self.withdrawals.values()),
            "withdrawn for a newer text": ended["withdrawn"] - sum(self.withdrawals.values()),
            "muted": ended["muted"],
        }

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
            *self.kinds.items(),
            ("accepted by Telegram once", sum(times[row["id"]] == 1 for row in self.rows)),
            ("accepted twice or more", sum(times[row["id"]] > 1 for row in self.rows)),
            ("never accepted", len(self._untold())),
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
            "not ended like the first of its digest": self._split(),
            "withdrawn or muted, but told": self._told_nevertheless(),
            "not what the user who withdrew it was told": self._misreported(),
            "not what its chat has muted": self._not_as_muted(),
            "an edit that failed": self._failed_edits(),
            "newest of its key, but not what the message shows": self._outdated(),
        }
        if self.mode == "at_most_once":
            uncertain = set(self.failed("uncertain"))
            found |= {
                "accepted twice": [id_ for id_, times in self.times.items() if times > 1],
                "uncertain without a cause": sorted(uncertain - self._exposed_with_digests()),
                "not ended like the others of its message": self._torn(),
            }
        else:
            found["never accepted"] = self._untold()
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
            if row["status"] == "delivered"
            and row["message_id"] not in self.told.messages_of(row["id"])
        ]

    def _untold(self) -> list[int]:
        """Rows in no message, although nobody wanted that."""
        times = self.times
        return [
            row["id"]
            for row in self.rows
            if row["status"] not in {"withdrawn", "muted"} and not times[row["id"]]
        ]

    def _overtaken(self) -> list[int]:
        """Rows that arrived for the first time before an earlier one of their chat.

        Rows that ended as uncertain are left out: a process that wakes up after its lease may
        send such a message late.
        """
        chats = {row["id"]: row["telegram_id"] for row in self.rows}
        certain = set(chats) - set(self.failed("uncertain"))
        arrivals = defaultdict(list)
        for id_ in self.told.arrivals():
            if id_ in certain:
                arrivals[chats[id_]].append(id_)
        return [late for ids in arrivals.values() for late, early in pairwise(ids) if late > early]

    # Digests

    def _split(self) -> list[int]:
        """Rows that were gathered into another last, and ended in another way."""
        ends = {row["id"]: _end(row) for row in self.rows}
        return [
            row["id"]
            for row in self.rows
            if row["gathered_into"] and ends[row["id"]] != ends[row["gathered_into"]]
        ]

    def _torn(self) -> list[int]:
        """Rows of messages that tell several, where these did not all end in one way."""
        ends = {row["id"]: _end(row) for row in self.rows}
        return sorted(
            id_
            for telling in self.told.digests
            if len({ends[id_] for id_ in telling.rows}) > 1
            for id_ in telling.rows
        )

    def _exposed_with_digests(self) -> set[int]:
        """What happens to the first row of a digest happens to all."""
        return self.exposed | {
            row["id"] for row in self.rows if row["gathered_into"] in self.exposed
        }

    # Not wanted

    def _told_nevertheless(self) -> list[int]:
        return [
            row["id"]
            for row in self.rows
            if row["status"] in {"withdrawn", "muted"}
            and self.told.messages_of(row["id"])
            and not self._may_have_been_told(row)
        ]

    def _may_have_been_told(self, row: dict[str, Any]) -> bool:
        """Whether it was tried, in doubt, and would have been tried again but for a newer text."""
        tried = row["status"] == "withdrawn" and row["replaces"] and row["attempt"] > 0
        return bool(tried) and row["id"] in self.exposed

    def _misreported(self) -> list[int]:
        ended = {row["id"]: row["status"] for row in self.rows}
        return [
            id_ for id_, done in self.withdrawals.items() if done != (ended[id_] == "withdrawn")
        ]

    def _not_as_muted(self) -> list[int]:
        return [row["id"] for row in self.rows if row["unwanted"] != (row["status"] == "muted")]

    # In place

    def _failed_edits(self) -> list[int]:
        """Nobody refuses them here, and they can be repeated until they are done."""
        return [row["id"] for row in self.rows if row["edits"] and row["status"] == "failed"]

    def _outdated(self) -> list[int]:
        newest = {
            (row["telegram_id"], row["replaces"]): row
            for row in sorted(self.rows, key=lambda row: row["id"])
            if row["replaces"]
        }
        return [
            row["id"]
            for row in newest.values()
            if row["status"] == "delivered"
            and self.told.shown_by(row["message_id"]) != (row["id"],)
        ]


def _end(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["status"], row["failure"], row["message_id"]
