"""What the SQL contract promises, said again in plain Python: the reference of the model test."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

Token = tuple[int, int]


@dataclass
class Event:
    """One row, as far as its life is concerned."""

    id: int
    chat: int
    priority: int = 0
    status: str = "pending"
    attempt: int = 0
    retries: int = 0
    started: bool = False
    stale: bool = False
    failure: str | None = None
    message_id: int | None = None

    def back_to_pending(self, *, counted: bool = False) -> None:
        """Nobody holds it any more."""
        self.status, self.started, self.stale = "pending", False, False
        self.retries += counted

    def end(
        self, status: str, *, failure: str | None = None, message_id: int | None = None
    ) -> None:
        """Settled for good."""
        self.status, self.failure, self.message_id = status, failure, message_id
        self.stale = False


@dataclass(frozen=True)
class Times:
    """What the database's clock says of a row: its place in its chat, and when it may go."""

    place: tuple[datetime, int]
    goes_at: tuple[datetime, int]
    due: bool


@dataclass
class Outbox:
    """All rows. Every method answers what the function of the same name must answer."""

    events: dict[int, Event] = field(default_factory=dict)
    claims: dict[UUID, list[Token]] = field(default_factory=dict)
    turns: int = 0

    def insert(self, event_id: int, chat: int, priority: int = 0) -> None:
        """A new row."""
        self.events[event_id] = Event(event_id, chat, priority)

    def claim(
        self, key: UUID, limit: int, start_now: int, times: Mapping[int, Times]
    ) -> list[tuple[Token, bool]]:
        """The tokens handed out under a key, and whether each has been started."""
        if key not in self.claims:
            taken = self._pick(limit, times)
            self.turns += len(taken)
            for place, event in enumerate(taken):
                event.status, event.started = "processing", place < start_now
                event.attempt += 1
            self.claims[key] = [(event.id, event.attempt) for event in taken]
        held = [event for token in self.claims[key] if (event := self.holds(token))]
        held.sort(key=lambda e: (-e.priority, times[e.id].place))
        return [((e.id, e.attempt), e.started) for e in held]

    def _pick(self, limit: int, times: Mapping[int, Times]) -> list[Event]:
        """Ready heads, urgent before normal before bulk, which gets every tenth turn."""
        ready = sorted(self._ready(times), key=lambda e: (-e.priority, times[e.id].goes_at))
        others = [e for e in ready if e.priority >= 0][:limit]
        share = (self.turns + limit) // 10 - self.turns // 10
        bulk = [e for e in ready if e.priority < 0][: max(limit - len(others), share)]
        return others[: limit - len(bulk)] + bulk

    def _ready(self, times: Mapping[int, Times]) -> list[Event]:
        """Of each chat of which nothing is in flight: the head of its highest class that is due."""
        busy = {e.chat for e in self.events.values() if e.status == "processing"}
        heads: dict[tuple[int, int], Event] = {}
        for event in sorted(self._open(), key=lambda e: times[e.id].place):
            heads.setdefault((event.chat, event.priority), event)
        ready: dict[int, Event] = {}
        for event in sorted(heads.values(), key=lambda e: -e.priority):
            if event.chat not in busy and times[event.id].due:
                ready.setdefault(event.chat, event)
        return list(ready.values())

    def start(self, token: tuple[int, int]) -> bool:
        """Whether this may be sent."""
        event = self.holds(token)
        if not event or event.started:
            return False
        event.started = True
        return True

    def settle(self, token: tuple[int, int], outcome: "Outcome") -> bool:
        """Whether the outcome is accepted: by the holder, or because it stands already."""
        event = self.holds(token)
        if event:
            outcome.apply(event)
            return True
        gone = self.events.get(token[0])
        return gone is not None and gone.attempt == token[1] and outcome.stands(gone)

    def release(self, token: tuple[int, int], *, unsent: bool = False) -> bool:
        """Whether the claim is handed back."""
        event = self.holds(token)
        if not event or (event.started and not unsent):
            return False
        event.back_to_pending()
        return True

    def expire(self, event_id: int) -> None:
        """The lease of a row in flight is over."""
        self.events[event_id].stale = True

    def recover(self, *, resend: bool) -> tuple[int, int, int]:
        """How many went back unstarted, back although started, and failed as uncertain."""
        stale = [e for e in self.events.values() if e.status == "processing" and e.stale]
        started = [e for e in stale if e.started]
        back = [e for e in stale if not e.started]
        for event in started:
            if resend:
                event.back_to_pending(counted=True)
            else:
                event.end("failed", failure="uncertain")
        for event in back:
            event.back_to_pending(counted=True)
        return (len(back), len(started), 0) if resend else (len(back), 0, len(started))

    def retry(self, ids: Iterable[int]) -> set[int]:
        """The failed rows that get another chance."""
        failed = {i for i in ids if i in self.events and self.events[i].status == "failed"}
        for event_id in failed:
            event = self.events[event_id]
            event.back_to_pending()
            event.retries, event.failure = 0, None
        return failed

    def delete(self, ids: Iterable[int]) -> None:
        """Rows that somebody deletes."""
        for event_id in ids:
            del self.events[event_id]

    def move(self, ids: Iterable[int], chat: int) -> None:
        """Rows that go to another chat."""
        for event_id in ids:
            self.events[event_id].chat = chat

    def prioritise(self, ids: Iterable[int], priority: int) -> None:
        """Rows that get another class."""
        for event_id in ids:
            self.events[event_id].priority = priority

    def purge(self) -> int:
        """How many settled rows are deleted."""
        settled = [e.id for e in self.events.values() if e.status in ("delivered", "failed")]
        for event_id in settled:
            del self.events[event_id]
        return len(settled)

    def _open(self) -> list[Event]:
        return [e for e in self.events.values() if e.status in ("pending", "processing")]

    def holds(self, token: tuple[int, int]) -> Event | None:
        """The event that this token is good for."""
        event = self.events.get(token[0])
        held = event and event.status == "processing" and event.attempt == token[1]
        return event if held else None


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: what is written, and how to see that it has been."""

    written: Mapping[str, object]
    apply: Callable[[Event], None]
    stands: Callable[[Event], bool]


def outcome(status: str, **more: object) -> Outcome:
    """An outcome as settle_tma_events reads it."""
    failure, message_id = more.get("failure"), more.get("message_id")

    def apply(event: Event) -> None:
        if status == "pending":
            event.back_to_pending(counted=bool(more.get("counted")))
        else:
            event.end(status, failure=failure, message_id=message_id)  # type: ignore[arg-type]

    def stands(event: Event) -> bool:
        return (event.status, event.failure, event.message_id) == (status, failure, message_id)

    return Outcome({"status": status, **more}, apply, stands)
