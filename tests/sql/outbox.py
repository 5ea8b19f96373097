"""What the SQL contract promises, said again in plain Python: the reference of the model test."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

Token = tuple[int, int]

DIGEST = "tapped"  # the type that is gathered
MANY = 100  # heads that a claim looks at, once it has met some that do not go


@dataclass
class Event:
    """One row, as far as its life is concerned."""

    id: int
    chat: int
    priority: int = 0
    type: str = "x"
    status: str = "pending"
    attempt: int = 0
    retries: int = 0
    started: bool = False
    stale: bool = False
    failure: str | None = None
    message_id: int | None = None
    gathered_into: int | None = None

    def back_to_pending(self, *, counted: bool = False) -> None:
        """Nobody holds it any more."""
        self.status, self.started, self.stale = "pending", False, False
        self.gathered_into = None
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
    had_its_time: bool  # whatever it waits for since
    gathering: bool  # the window of a digest that begins with it is open


@dataclass
class Outbox:
    """All rows. Every method answers what the function of the same name must answer."""

    events: dict[int, Event] = field(default_factory=dict)
    claims: dict[UUID, list[Token]] = field(default_factory=dict)
    turns: int = 0
    muted: set[tuple[int, str]] = field(default_factory=set)  # chat and type
    blocked: set[int] = field(default_factory=set)

    def insert(self, event_id: int, chat: int, priority: int = 0, event_type: str = "x") -> None:
        """A new row."""
        self.events[event_id] = Event(event_id, chat, priority, event_type)

    def claim(
        self, key: UUID, limit: int, start_now: int, times: Mapping[int, Times]
    ) -> list[tuple[Token, bool, list[int]]]:
        """What is handed out under a key: token, whether it was started, what goes with it."""
        if key not in self.claims:
            taken = self._pick(limit, times)
            self.turns += len(taken)
            for place, event in enumerate(taken):
                for row in (event, *self._alike(event, times)):
                    row.status, row.started = "processing", place < start_now
                    row.attempt += 1
                    row.gathered_into = None if row is event else event.id
            self.claims[key] = [(event.id, event.attempt) for event in taken]
        held = [event for token in self.claims[key] if (event := self.holds(token))]
        held.sort(key=lambda e: (-e.priority, times[e.id].place))
        return [
            (
                (e.id, e.attempt),
                e.started,
                sorted((m.id for m in self._message(e)[1:]), key=lambda one: times[one].place),
            )
            for e in held
        ]

    def _pick(self, limit: int, times: Mapping[int, Times]) -> list[Event]:
        """Ready heads, urgent before normal before bulk, which gets every tenth turn."""
        held: set[int] = set()
        urgent = self._find(1, limit, times, held)
        normal = self._find(0, limit - len(urgent), times, held)
        others = urgent + normal
        share = (self.turns + limit) // 10 - self.turns // 10
        bulk = self._find(-1, max(limit - len(others), share), times, held)
        return others[: limit - len(bulk)] + bulk

    def _find(
        self, priority: int, want: int, times: Mapping[int, Times], held: set[int]
    ) -> list[Event]:
        """Up to `want` heads of a class that go; ends those that are not to be sent at all."""
        found: list[Event] = []
        look_at = want
        last: Event | None = None
        while len(found) < want:
            heads = [
                head
                for head in self._heads(priority, times, held)
                if last is None or times[head.id].goes_at > times[last.id].goes_at
            ][:look_at]
            if not heads:
                break
            last = heads[-1]
            ended = [head for head in heads if self._end_unsent(head, times)]
            waiting = {e.id for e in heads if e.type == DIGEST and times[e.id].gathering}
            held |= waiting - {e.id for e in ended}
            found += [e for e in heads if e not in ended and e.id not in waiting]
            if len(heads) < look_at and not ended:
                break
            if ended or waiting or look_at == MANY:
                look_at = MANY
        return found[:want]

    def _heads(self, priority: int, times: Mapping[int, Times], held: set[int]) -> list[Event]:
        """The first open rows of a class that are due, of chats of which nothing else is to go."""
        busy = {e.chat for e in self.events.values() if e.status == "processing"}
        first: dict[tuple[int, int], Event] = {}
        for event in sorted(self._open(), key=lambda e: times[e.id].place):
            first.setdefault((event.chat, event.priority), event)
        due = {line for line, e in first.items() if times[e.id].due and e.id not in held}
        return sorted(
            (
                event
                for (chat, its), event in first.items()
                if its == priority
                and (chat, its) in due
                and chat not in busy
                and not any((chat, higher) in due for higher in range(priority + 1, 2))
            ),
            key=lambda e: times[e.id].goes_at,
        )

    def _end_unsent(self, head: Event, times: Mapping[int, Times]) -> bool:
        """End what its chat has muted, or cannot get: this row, and those that are alike."""
        muted = (head.chat, head.type) in self.muted
        if not muted and not (head.chat in self.blocked and head.priority < 1):
            return False
        for event in self._open():
            if (
                (event.chat, event.priority) == (head.chat, head.priority)
                and times[event.id].had_its_time
                and (not muted or event.type == head.type)
            ):
                event.end("muted" if muted else "failed", failure=None if muted else "blocked")
        return True

    def _alike(self, head: Event, times: Mapping[int, Times]) -> list[Event]:
        """What goes with a row into one message."""
        if head.type != DIGEST:
            return []
        return [
            event
            for event in self._open()
            if event.status == "pending"
            and (event.chat, event.priority, event.type) == (head.chat, head.priority, head.type)
            and times[event.id].had_its_time
            and times[event.id].place > times[head.id].place
        ]

    def _message(self, event: Event) -> list[Event]:
        """A row in flight and those that go with it."""
        gathered = [
            e
            for e in self.events.values()
            if e.gathered_into == event.id and e.status == "processing"
        ]
        return [event, *gathered]

    def start(self, token: tuple[int, int]) -> bool:
        """Whether this may be sent."""
        event = self.holds(token)
        if not event or event.started:
            return False
        for row in self._message(event):
            row.started = True
        return True

    def settle(self, token: tuple[int, int], outcome: "Outcome") -> bool:
        """Whether the outcome is accepted: by the holder, or because it stands already."""
        event = self.holds(token)
        if event:
            for row in self._message(event):
                outcome.apply(row)
            if event.status == "delivered":
                self.blocked.discard(event.chat)
            elif event.failure == "blocked":
                self.blocked.add(event.chat)
            return True
        gone = self.events.get(token[0])
        return gone is not None and gone.attempt == token[1] and outcome.stands(gone)

    def release(self, token: tuple[int, int], *, unsent: bool = False) -> bool:
        """Whether the claim is handed back."""
        event = self.holds(token)
        if not event or (event.started and not unsent):
            return False
        for row in self._message(event):
            row.back_to_pending()
        return True

    def expire(self, event_id: int) -> None:
        """The lease of a row in flight is over."""
        self.events[event_id].stale = True

    def recover(self, *, resend: bool) -> tuple[int, int, int]:
        """How many went back unstarted, back although started, and failed as uncertain."""
        stale = [
            row
            for event in list(self.events.values())
            if event.status == "processing" and event.stale and event.gathered_into is None
            for row in self._message(event)
        ]
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
            self.blocked.discard(event.chat)
        return failed

    def withdraw(self, ids: Iterable[int]) -> set[int]:
        """The waiting rows that are not sent any more."""
        waiting = {i for i in ids if i in self.events and self.events[i].status == "pending"}
        for event_id in waiting:
            self.events[event_id].end("withdrawn")
        return waiting

    def mute(self, chat: int, event_type: str, *, muted: bool) -> None:
        """What a user does not want to be told, or wants to be told again."""
        if muted:
            self.muted.add((chat, event_type))
        else:
            self.muted.discard((chat, event_type))

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
        settled = [e.id for e in self.events.values() if e not in self._open()]
        for event_id in settled:
            del self.events[event_id]
        return len(settled)

    def _open(self) -> list[Event]:
        return [e for e in self.events.values() if e.status in ("pending", "processing")]

    def holds(self, token: tuple[int, int]) -> Event | None:
        """The event that this token is good for."""
        event = self.events.get(token[0])
        held = (
            event
            and event.status == "processing"
            and event.attempt == token[1]
            and event.gathered_into is None
        )
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
