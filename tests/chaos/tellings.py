"""What Telegram's messages tell, from their first text to their last."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Telling:
    """One text of a message and the rows that it tells: the first is the send, others are edits."""

    message_id: int
    rows: tuple[int, ...]


class Tellings:
    """All texts of all messages."""

    def __init__(self, tellings: Iterable[Telling] = ()) -> None:
        """`tellings`: in the order in which Telegram accepted them."""
        self._all = list(tellings)
        self._of_message: dict[int, list[Telling]] = defaultdict(list)
        self._messages: dict[int, set[int]] = defaultdict(set)
        for telling in self._all:
            self._of_message[telling.message_id].append(telling)
            for row in telling.rows:
                self._messages[row].add(telling.message_id)

    def messages_of(self, row: int) -> set[int]:
        """The messages that tell a row now, or did before an edit."""
        return self._messages.get(row, set())

    def shown_by(self, message_id: int) -> tuple[int, ...]:
        """The rows that a message tells now."""
        return self._of_message[message_id][-1].rows if message_id in self._of_message else ()

    @property
    def digests(self) -> list[Telling]:
        """Those that tell several rows."""
        return [telling for telling in self._all if len(telling.rows) > 1]

    @property
    def edits(self) -> int:
        """How often a message was changed."""
        return len(self._all) - len(self._of_message)

    def arrivals(self) -> list[int]:
        """The rows in the order in which they were told first.

        Of a digest only its first row, where it stands; the others have come before their time.
        """
        seen: set[int] = set()
        arrived = []
        for telling in self._all:
            first = min(telling.rows)
            if first not in seen:
                arrived.append(first)
            seen.update(telling.rows)
        return arrived
