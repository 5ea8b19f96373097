"""The doorbell: keeps one subscription alive for ever and says when there is work."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Protocol, assert_never

import structlog

from realtime_bridge.backoff import delays
from realtime_bridge.doorbell.key import KeyWatch
from realtime_bridge.doorbell.policy import (
    Bell,
    BellState,
    Distrust,
    GiveUp,
    Keep,
    Limits,
    Mode,
    Reason,
    Renew,
    Replace,
    Trouble,
    View,
    Wish,
    decide,
    first_wish,
    narrowed,
    wanted,
)
from realtime_bridge.doorbell.session import Session
from realtime_bridge.doorbell.trust import Trust

log = structlog.get_logger()

LIMITS = Limits()
HINTS = {
    Bell.CHANGES: "the tables must be in the publication supabase_realtime and readable by the key",
    Bell.BROADCAST: "the key must be allowed to read the private channel; a trigger rings it",
}


@dataclass(frozen=True, slots=True)
class DoorbellStatus:
    """How the doorbell is, for /readyz, metrics and `status`."""

    changes: BellState
    broadcast: BellState
    healthy: bool  # at least one bell is ready
    since: float  # the clock's value when `healthy` last changed
    last_error: str | None  # why a connection or a bell was last lost; safe to show
    rebuilds: int  # clients thrown away so far


class DoorbellObserver(Protocol):
    """Told what happens, for metrics; what it raises is logged and goes no further."""

    def ready(self, bell: Bell) -> None:
        """A bell is ready (again)."""

    def down(self, reason: Reason) -> None:
        """No bell is ready any more."""

    def rebuilt(self, reason: Reason) -> None:
        """A client was thrown away; another one takes its place."""

    def refused(self, bell: Bell, text: str) -> None:
        """The server will not ring this bell; it is asked again from time to time."""

    def deaf(self, bell: Bell) -> None:
        """A bell kept silent again after it was rebuilt; it does not count until it rings."""


class Unobserved:
    """An observer that does nothing; subclass it to watch a part."""

    def ready(self, bell: Bell) -> None: ...  # noqa: D102 - DoorbellObserver says it
    def down(self, reason: Reason) -> None: ...  # noqa: D102
    def rebuilt(self, reason: Reason) -> None: ...  # noqa: D102
    def refused(self, bell: Bell, text: str) -> None: ...  # noqa: D102
    def deaf(self, bell: Bell) -> None: ...  # noqa: D102


UNOBSERVED: DoorbellObserver = Unobserved()


class Doorbell:
    """Rings when rows are inserted: `wake` is called with the bell that rang, or "ready".

    A doorbell only: it promises nothing about single rows, and whoever is woken looks at the
    table. After every gap it rings once with "ready", so that what came in between is found.

    One client with one channel carries both bells. Whatever happens to it, run() builds
    another: at once beside the old one where the old one still works (a key that expires, a
    bell to ask for again, an old connection), after a growing pause where it does not. The
    pause starts small again after a bell was ready and stayed so: a server that accepts and
    then rejects is not dialled in a spin.
    """

    def __init__(
        self,
        *,
        url: str,
        key: Callable[[], str],
        tables: Sequence[str],
        wake: Callable[[str], None],
        mode: Mode = "both",
        topic: str = "tma_bell",
        api_key: Callable[[], str] | None = None,
        delays: Callable[[], Iterator[float]] = delays,
        observer: DoorbellObserver = UNOBSERVED,
        limits: Limits = LIMITS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Describe what to listen to.

        `url`: the Supabase project's base address. `key()`: the key to use now; asked at every
        new connection, and shortly before the key in use expires. `tables`: in `public`.
        `api_key()`: what the gateway knows, where that is another than the key; only a key that
        is a JWT can go behind it.
        `delays()`: the pauses in seconds between connections that fail. `clock` counts seconds;
        `now` is the time of day, for keys that expire.
        """
        self._url = url
        self._key = key
        self._api_key = api_key
        self._tables = tuple(tables)
        self._wake = wake
        self._topic = topic
        self._delays = delays
        self._observer = observer
        self._limits = limits
        self._clock = clock
        self._keys = KeyWatch(key, now, limits.token_warning)
        self._full = first_wish(wanted(mode))
        self._stir = asyncio.Event()
        self._pauses = delays()
        self._pause = 0.0  # seconds, the latest one
        self._sessions: set[Session] = set()  # all that are open: one, or two during a renewal
        self._announced: frozenset[Bell] = frozenset()  # the current session's bells, once ready
        self._successor: Session | None = None
        self._renewal = Renew(Reason.REFRESH)  # what the successor is for
        self._asked = -inf  # when everything was last asked for
        self._tried = -inf  # when a successor was last begun
        self._refused: set[Bell] = set()
        self._trust = Trust()
        self._was_healthy = False
        self._since = clock()
        self._last_error: str | None = None
        self._rebuilds = 0
        self._away = False
        self._renewal_asked = False
        self._hurry = asyncio.Event()

    def renew(self, reason: Reason = Reason.TOKEN) -> None:  # noqa: ARG002 - stub
        """Ask for a new connection now, beside the one that works."""
        self._renewal_asked = True
        self._hurry.set()
        self._stir.set()

    def database(self, *, away: bool) -> None:
        """Report whether the database answers. While it does not, nothing can ring."""
        self._away = away
        for bell in sorted(self._announced - self._trust.deaf):
            self._tell(
                self._observer.refused if away else self._observer.ready,
                bell,
                *(["the database is away"] if away else []),
            )
        self._health_turned()

    @property
    def healthy(self) -> bool:
        """Whether a ring can be expected: at least one bell is ready."""
        return bool(self._announced - self._trust.deaf) and not self._away

    @property
    def status(self) -> DoorbellStatus:
        """How the doorbell is at this moment."""
        return DoorbellStatus(
            changes=self._state(Bell.CHANGES),
            broadcast=self._state(Bell.BROADCAST),
            healthy=self.healthy,
            since=self._since,
            last_error=self._last_error,
            rebuilds=self._rebuilds,
        )

    def missed(self, source_table: str, rows: int) -> None:
        """Report rows that a sweep found first, although the doorbell was healthy all the time.

        A ring for that table clears what was reported; `limits.deaf_rows` without one are
        taken for deafness.
        """
        if self.healthy and rows > 0:
            self._trust.missed(source_table, rows, self._clock())

    async def run(self) -> None:
        """Keep the doorbell ringing; return only by being cancelled."""
        wish = self._full
        while True:
            try:
                wish = await self._attend(wish)
            except Exception:
                log.exception("doorbell_bug")
                wish = self._full
                self._end(
                    Trouble(Reason.INTERNAL, "a bug of the bridge, see the log"), lasted=False
                )
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._hurry.wait()

    async def _attend(self, wish: Wish) -> Wish:
        """Keep a connection, and its successors, until one fails; return what to ask for next."""
        session = self._open(wish)
        try:
            while True:
                await self._stirred()
                self._announce(session)
                session = await self._succeeded(session)
                action = decide(self._view(session), self._limits)
                if isinstance(action, Replace):
                    self._end(action.trouble, lasted=session.lasted)
                    return self._wish_after(session.wish, action.trouble)
                self._act(session, action)
        finally:
            self._announced = frozenset()
            self._successor = None
            await self._close(*self._sessions)

    async def _stirred(self) -> None:
        """Wait until something happened, or it is time to have a look anyway."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.look_every):
                await self._stir.wait()
        self._stir.clear()

    def _open(self, wish: Wish) -> Session:
        if wish == self._full:
            self._asked = self._clock()
        session = Session(
            wish,
            url=self._url,
            topic=self._topic,
            tables=self._tables,
            key=self._key,
            api_key=self._api_key,
            limits=self._limits,
            clock=self._clock,
            stir=self._stir.set,
            rang=self._rang,
        )
        self._sessions.add(session)
        session.start()
        return session

    async def _close(self, *sessions: Session) -> None:
        """Close sessions to the end, also when run() is cancelled in the middle of it."""
        closing = asyncio.gather(*(asyncio.create_task(session.close()) for session in sessions))
        cancelled = False
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError:
                cancelled = True
        self._sessions.difference_update(sessions)
        if cancelled:
            raise asyncio.CancelledError

    def _announce(self, session: Session) -> None:
        """Ring for what may have come before a bell was ready; from here on it is heard."""
        for bell in sorted(session.ready - self._announced):
            self._announced |= {bell}
            self._refused.discard(bell)
            log.info("doorbell_ready", bell=bell.value, private=session.wish.private)
            if bell not in self._trust.deaf:
                self._tell(self._observer.ready, bell)
            self._tell(self._wake, "ready")
            if session.key:
                self._keys.warn(session.key, last_call=False)
        self._health_turned()

    async def _succeeded(self, current: Session) -> Session:
        """Return the successor if it is ready; let go of it if it never will be."""
        successor = self._successor
        if not successor:
            return current
        trouble = successor.look()
        if trouble or self._clock() - successor.begun >= self._limits.ready:
            self._successor = None
            error = trouble.text if trouble else "not ready in time"
            log.warning("doorbell_kept", reason=self._renewal.reason.value, error=error)
            await self._close(successor)
            return current
        if not successor.ready >= successor.wish.bells:
            return current
        self._successor = None
        self._announced = frozenset()
        self._trust.rebuilt_for(self._renewal.suspect)
        self._count_rebuild(self._renewal.reason)
        self._announce(successor)
        await self._close(current)
        return successor

    def _act(self, session: Session, action: Keep | Renew | Distrust | GiveUp) -> None:
        match action:
            case Keep():
                pass
            case Renew():
                log.info("doorbell_renewing", reason=action.reason.value)
                self._renewal = action
                self._tried = self._clock()
                self._successor = self._open(self._full if action.everything else session.wish)
            case Distrust():
                self._distrust(action.bells)
            case GiveUp():
                for bell in sorted(action.bells):
                    self._refuse(bell, f"no answer within {self._limits.ready:g} s")
            case _:
                assert_never(action)

    def _end(self, trouble: Trouble, *, lasted: bool) -> None:
        """Take leave of the current connection: nothing is ready from here on."""
        suspect = self._announced - self._trust.deaf
        self._trust.rebuilt_for(suspect if trouble.reason is Reason.DEAF else frozenset())
        self._announced = frozenset()
        self._last_error = trouble.text
        if lasted:
            self._pauses = self._delays()
        self._pause = next(self._pauses, self._pause)
        reason, pause = trouble.reason, round(self._pause, 1)
        log.warning("doorbell_lost", reason=reason.value, error=trouble.text, retry_in=pause)
        if self._health_turned():
            self._tell(self._observer.down, reason)
        self._count_rebuild(reason)

    def _count_rebuild(self, reason: Reason) -> None:
        self._rebuilds += 1
        self._tell(self._observer.rebuilt, reason)

    def _wish_after(self, wish: Wish, trouble: Trouble) -> Wish:
        """Ask for less after a refusal, for everything again after a while."""
        if not trouble.refusal:
            stale = self._clock() - self._asked >= self._limits.ask_again
            return self._full if stale else wish
        left = narrowed(wish, trouble.refusal)
        for bell in sorted(wish.bells - left.bells if left else wish.bells):
            self._refuse(bell, trouble.text)
        return left or self._full

    def _refuse(self, bell: Bell, text: str) -> None:
        self._refused.add(bell)
        self._last_error = text
        log.error("doorbell_refused", bell=bell.value, error=text, hint=HINTS[bell])
        self._tell(self._observer.refused, bell, text)

    def _distrust(self, bells: frozenset[Bell]) -> None:
        self._trust.lose(bells)
        for bell in sorted(bells):
            log.error("doorbell_deaf", bell=bell.value, hint=HINTS[bell])
            self._tell(self._observer.deaf, bell)
        if self._health_turned():
            self._tell(self._observer.down, Reason.DEAF)

    def _rang(self, bell: Bell, table: str | None) -> None:
        """Pass a ring on. Called from the library's reading loop: must not raise."""
        self._tell(self._wake, bell.value)
        healed = bell in self._trust.deaf and bell in self._announced
        self._trust.rang(bell, table)
        if healed:
            log.info("doorbell_heard_again", bell=bell.value)
            self._health_turned()
            self._tell(self._observer.ready, bell)

    def _health_turned(self) -> bool:
        turned = self.healthy is not self._was_healthy
        if turned:
            self._was_healthy = self.healthy
            self._since = self._clock()
        return turned

    def _state(self, bell: Bell) -> BellState:
        if bell not in self._full.bells:
            return BellState.OFF
        if bell in self._announced and self._away:
            return BellState.AWAY
        if bell in self._announced:
            return BellState.DEAF if bell in self._trust.deaf else BellState.READY
        return BellState.REFUSED if bell in self._refused else BellState.DOWN

    def _view(self, session: Session) -> View:
        now = self._clock()
        return View(
            age=now - session.begun,
            wish=session.wish,
            wanted=self._full.bells,
            ready=session.ready,
            refused=frozenset(self._refused),
            deaf=self._trust.deaf,
            suspect=self._trust.suspect,
            silent=session.hearing.silent(self._limits.silent_rings),
            trouble=session.look(),
            missed_rows=self._trust.missed_rows(now, self._limits.deaf_grace),
            better_key=self._has_better_key(session),
            asked=now - self._asked,
            tried=now - self._tried,
            renewing=self._successor is not None,
        )

    def _has_better_key(self, session: Session) -> bool:
        """Look for another key, but only when the one in use is about to expire."""
        key = session.key
        if key and self._renewal_asked:
            self._renewal_asked = key != self._key()
            return self._renewal_asked
        if not key or self._keys.left(key) > self._limits.token_margin:
            return False
        better = self._keys.better_than(key)
        if not better:
            self._keys.warn(key, last_call=True)
        return better

    def _tell(self, listener: Callable[..., None], *args: object) -> None:
        """Call what others handed in; a bug of theirs must not make us deaf."""
        try:
            listener(*args)
        except Exception:
            log.exception("doorbell_listener_failed")
