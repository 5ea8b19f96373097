"""The doorbell: keeps one subscription alive for ever and says when there is work."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Protocol, assert_never

import structlog

from realtime_bridge.base import retry_delay
from realtime_bridge.doorbell.connection import Connection
from realtime_bridge.doorbell.hearing import Hearing
from realtime_bridge.doorbell.journal import Journal, Missed
from realtime_bridge.doorbell.key import KeyWatch
from realtime_bridge.doorbell.policy import (
    Bell,
    BellState,
    Distrust,
    Fault,
    GiveUp,
    Keep,
    Limits,
    Mode,
    Reason,
    Renew,
    Replace,
    Request,
    Snapshot,
    Subscription,
    decide,
    first_wish,
    longest_pause,
    narrowed,
    wanted,
)
from realtime_bridge.model import Wake

log = structlog.get_logger()

LIMITS = Limits()
# A ring for this "table" says that the bells themselves have changed: `select bridge.ring('bells')`
# at the end of what mends them. A bell that works passes it on for the one that does not.
BELLS = "bells"


def growing(failures: int, longest: float) -> float:
    """Seconds until the next try: about one after the first failure, then more up to `longest`.

    >>> 0.5 <= growing(0, 3.0) <= 1.0, 1.5 <= growing(100, 3.0) <= 3.0
    (True, True)
    """
    return retry_delay(failures, first=1.0, factor=1.6, cap=longest)


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
    """Rings when rows are inserted: `wake` is called with the bell that rang, or READY.

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
        wake: Callable[[Wake], None],
        mode: Mode = "both",
        topic: str = "tma_bell",
        api_key: Callable[[], str] | None = None,
        pause: Callable[[int, float], float] = growing,
        observer: DoorbellObserver = UNOBSERVED,
        limits: Limits = LIMITS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Describe what to listen to.

        `url`: the Supabase project's base address. `key()`: the key to use now; asked at every
        new connection, and shortly before the key in use expires. `tables`: the names of those
        that are ours; a ring that names another one is for somebody else.
        `api_key()`: what the gateway knows, where that is another than the key; only a key that
        is a JWT can go behind it.
        `pause(failures, longest)`: the seconds until the next try, after so many that failed.
        `clock` counts seconds; `now` is the time of day, for keys that expire.
        """
        self._url = url
        self._key = key
        self._api_key = api_key
        self._tables = frozenset(tables)
        self._wake = wake
        self._topic = topic
        self._pause_after = pause
        self._observer = observer
        self._limits = limits
        self._clock = clock
        self._journal = Journal(clock)
        self._keys = KeyWatch(key, now, limits.token_warning)
        self._full = first_wish(wanted(mode))
        self._stir = asyncio.Event()
        self._hurry = asyncio.Event()  # to cut a pause short
        self._failures = 0  # since a connection lasted
        self._pause = 0.0  # seconds, the latest one
        self._sessions: set[Connection] = set()  # all that are open: one, or two during a renewal
        self._announced: dict[Bell, float] = {}  # the current session's bells: since when ready
        self._stale: frozenset[Bell] = frozenset()  # announced before the database was away
        self._successor: Connection | None = None
        self._renewal = Renew(Reason.REFRESH)  # what the successor is for
        self._request: tuple[Reason, float] | None = None  # for a connection begun after that
        self._request_pause = limits.longest_pause
        self._asked = -inf  # when everything was last asked for
        self._ask_after = limits.ask_first
        self._tried = -inf  # when a successor was last begun
        self._doubted = -inf  # when one was last begun because of silence
        self._looked = clock()
        self._refused: set[Bell] = set()
        self._trust = Hearing(tables)
        self._away_since: float | None = None  # the database
        self._judged_from = -inf  # rows that were inserted before are no evidence
        self._was_healthy = False
        self._since = clock()
        self._last_error: str | None = None
        self._rebuilds = 0

    @property
    def healthy(self) -> bool:
        """Whether a ring can be expected: at least one bell is ready."""
        return bool(self._counted)

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

    def expect(self, table: str, inserted: Iterable[float]) -> None:
        """Report rows that were claimed just now and should have rung at their insert.

        `inserted`: the earliest moments, by the doorbell's clock, at which that can have been.
        Only rows that were due when they were inserted, and are claimed for the first time.
        """
        if self._away_since is None:
            skew = self._limits.skew
            times = [time - skew for time in inserted]
            self._trust.expect(
                table,
                [time for time in times if time >= self._judged_from],
                self._announced,
                self._clock(),
            )

    def renew(self, reason: Reason = Reason.TOKEN) -> None:
        """Ask for a new connection now, beside the one that works, and for all bells on it.

        For what makes this one outdated: another key, another right, a publication that was
        mended. It is tried until it works.
        """
        self._request = (reason, self._clock())
        self._request_pause = self._limits.longest_pause
        self._ask_after = self._limits.ask_first
        self._hurry.set()
        self._stir.set()

    def database(self, *, away: bool) -> None:
        """Report whether the database answers. While it does not, nothing can ring.

        Realtime says nothing of it: channels stay joined and heartbeats are answered. When the
        database was away for long, the server may have given up listening to its changes for
        good; then only a new subscription helps.
        """
        now = self._clock()
        if away is (self._away_since is not None):
            return
        if away:
            self._away_since = now
            self._trust.excuse()
            if self._health_turned():
                self._tell(self._observer.down, Reason.AWAY)
            return
        lasted, self._away_since = now - (self._away_since or now), None
        self._judged_from = now + self._limits.back
        if lasted >= self._limits.away_long:
            self._stale = frozenset({Bell.CHANGES} & self._announced.keys())
        if self._stale or self._full.bells - self._announced.keys():
            self.renew(Reason.AWAY)
        for bell in sorted(self._counted):
            self._tell(self._observer.ready, bell)
        self._health_turned()

    async def run(self) -> None:
        """Keep the doorbell ringing; return only by being cancelled."""
        wish = self._full
        while True:
            try:
                wish = await self._attend(wish)
            except Exception:
                log.exception("doorbell_bug")
                wish = self._full
                self._end(Fault(Reason.INTERNAL, "a bug of the bridge, see the log"), lasted=False)
            await self._rest()

    async def _attend(self, wish: Subscription) -> Subscription:
        """Keep a connection, and its successors, until one fails; return what to ask for next."""
        session = self._open(wish)
        try:
            while True:
                await self._stirred()
                self._announce(session)
                session = await self._succeeded(session)
                action = decide(self._view(session), self._limits)
                if not isinstance(action, Replace):
                    self._act(session, action)
                elif second := self._second_try(action.trouble):
                    await self._close(session)
                    session = second
                else:
                    self._end(action.trouble, lasted=session.lasted)
                    return self._wish_after(session.wish, action.trouble)
        finally:
            self._announced = {}
            self._stale = frozenset()
            self._successor = None
            await self._close(*self._sessions)

    async def _stirred(self) -> None:
        """Wait until something happened, or it is time to have a look anyway."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.look_every):
                await self._stir.wait()
        self._stir.clear()
        now, looked = self._clock(), self._looked
        if now - looked > self._limits.look_every + self._limits.nap:
            self._trust.woke(now)
        self._looked = now

    async def _rest(self) -> None:
        """Wait for the pause to end, or for news that make it pointless."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._hurry.wait()
        self._hurry.clear()

    def _open(self, wish: Subscription) -> Connection:
        if wish == self._full:
            self._asked = self._clock()
        session = Connection(
            wish,
            url=self._url,
            topic=self._topic,
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

    async def _close(self, *sessions: Connection) -> None:
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

    def _announce(self, session: Connection) -> None:
        """Ring for what may have come before a bell was ready; from here on it is heard."""
        for bell in sorted(session.ready - self._announced.keys()):
            self._announced[bell] = self._clock()
            self._refused.discard(bell)
            self._journal.ready(bell, private=session.wish.private)
            if bell in self._counted:
                self._tell(self._observer.ready, bell)
            self._tell(self._wake, Wake.READY)
            if session.key:
                self._keys.warn(session.key, last_call=False)
        self._all_well()
        self._health_turned()

    async def _succeeded(self, current: Connection) -> Connection:
        """Return the successor if it is ready; let go of it if it never will be."""
        successor, reason = self._successor, self._renewal.reason
        if not successor:
            return current
        if reason is Reason.SLOW and current.ready >= current.wish.bells:
            self._successor = None
            await self._close(successor)
            return current
        trouble = successor.look()
        if trouble or self._clock() - successor.begun >= self._limits.ready:
            self._successor = None
            self._came_to_nothing(
                successor, trouble or Fault(Reason.NOT_READY, "not ready in time")
            )
            await self._close(successor)
            return current
        if not successor.ready >= successor.wish.bells:
            return current
        self._successor = None
        self._announced = {}
        self._stale = frozenset()
        self._trust.renewed_for(self._renewal.suspect)
        self._count_rebuild(reason)
        self._announce(successor)
        await self._close(current)
        return successor

    def _came_to_nothing(self, successor: Connection, trouble: Fault) -> None:
        """Keep the old connection. A request is open still, unless the server said no to it."""
        self._journal.kept(self._renewal.reason, trouble.text)
        self._request_pause = longest_pause(trouble, self._limits)
        if trouble.refusal and self._renewal.everything:
            self._answer(successor)

    def _second_try(self, trouble: Fault) -> Connection | None:
        """Return what was begun because the connection that failed now was slow to answer.

        A part of a wish that is refused is refused to the second try as well.
        """
        second = self._successor
        slow = self._renewal.reason is Reason.SLOW and not self._announced
        if not second or not slow or trouble.refusal:
            return None
        self._successor = None
        self._journal.slow(trouble)
        self._last_error = trouble.text
        self._count_rebuild(trouble.reason)
        self._stir.set()
        return second

    def _act(self, session: Connection, action: Keep | Renew | Distrust | GiveUp) -> None:
        match action:
            case Keep():
                pass
            case Renew():
                self._renew(session, action)
            case Distrust():
                self._distrust(action.bells)
            case GiveUp():
                for bell in sorted(action.bells):
                    self._refuse(bell, f"no answer within {self._limits.ready:g} s")
            case _:
                assert_never(action)

    def _renew(self, session: Connection, renewal: Renew) -> None:
        for bell in sorted(renewal.suspect):
            self._say_missed(self._journal.silent, bell)
        self._journal.renewing(renewal.reason)
        self._renewal = renewal
        self._tried = self._clock()
        if renewal.reason is Reason.DEAF:
            self._doubted = self._tried
        if renewal.reason is Reason.RETRY:
            self._ask_after = min(2 * self._ask_after, self._limits.ask_again)
        self._successor = self._open(self._full if renewal.everything else session.wish)

    def _end(self, trouble: Fault, *, lasted: bool) -> None:
        """Take leave of the current connection: nothing is ready from here on."""
        self._trust.excuse()
        self._announced = {}
        self._stale = frozenset()
        self._last_error = trouble.text
        if lasted:
            self._failures = 0
        longest = longest_pause(trouble, self._limits)
        self._pause = self._pause_after(self._failures, longest)
        self._failures += 1
        self._journal.lost(trouble, self._pause)
        if self._health_turned():
            self._tell(self._observer.down, trouble.reason)
        self._count_rebuild(trouble.reason)

    def _count_rebuild(self, reason: Reason) -> None:
        self._rebuilds += 1
        self._tell(self._observer.rebuilt, reason)

    def _wish_after(self, wish: Subscription, trouble: Fault) -> Subscription:
        """Ask for less after a refusal, for everything again after a while."""
        if not trouble.refusal:
            stale = self._clock() - self._asked >= self._ask_after
            return self._full if stale else wish
        left = narrowed(wish, trouble.refusal)
        for bell in sorted(wish.bells - left.bells if left else wish.bells):
            self._refuse(bell, trouble.text)
        return left or self._full

    def _refuse(self, bell: Bell, text: str) -> None:
        self._refused.add(bell)
        self._last_error = text
        self._journal.refused(bell, text)
        self._tell(self._observer.refused, bell, text)

    def _distrust(self, bells: frozenset[Bell]) -> None:
        for bell in sorted(bells):
            self._say_missed(self._journal.deaf, bell)
        self._trust.lose(bells)
        for bell in sorted(bells):
            self._tell(self._observer.deaf, bell)
        if self._health_turned():
            self._tell(self._observer.down, Reason.DEAF)

    def _say_missed(self, say: Callable[[Missed], None], bell: Bell) -> None:
        silence = self._trust.silence(bell)
        if not silence:
            return
        now, heard = self._clock(), self._trust.heard(bell, silence.table)
        missed = max(heard, silence.inserted)
        others = self._announced.keys() - {bell}
        say(
            Missed(
                bell=bell,
                table=silence.table,
                rows=silence.rows,
                first_row=now - silence.inserted - self._limits.skew,
                last_ring=None if heard == -inf else now - heard,
                elsewhere=self._trust.heard_at_all(bell) > missed,
                other=any(self._trust.heard(other, silence.table) > missed for other in others)
                if others
                else None,
            )
        )

    def _rang(self, bell: Bell, table: str | None) -> None:
        """Pass a ring on. Called from the library's reading loop: must not raise."""
        if table == BELLS:
            self._bells_changed()
            return
        if table is not None and table not in self._tables:
            return
        self._tell(self._wake, Wake(bell.value))
        counted = self._counted
        was_deaf = bell in self._trust.deaf
        self._trust.rang(bell, table, self._clock())
        self._stale -= {bell}
        for healed in sorted(self._counted - counted):
            if was_deaf:
                self._journal.heard_again(healed)
            self._tell(self._observer.ready, healed)
        self._all_well()
        self._health_turned()

    def _bells_changed(self) -> None:
        """Ask soon for what is lacking; at the next look, so that replicas do not all do it now."""
        self._ask_after = self._limits.ask_first

    @property
    def _counted(self) -> frozenset[Bell]:
        """The bells from which a ring can be expected."""
        if self._away_since is not None:
            return frozenset()
        return frozenset(self._announced) - self._stale - self._trust.deaf

    def _all_well(self) -> None:
        """With nothing left to ask for, the next thing that is lacking is asked for soon."""
        if self._counted == self._full.bells:
            self._ask_after = self._limits.ask_first

    def _health_turned(self) -> bool:
        turned = self.healthy is not self._was_healthy
        if turned:
            self._was_healthy = self.healthy
            self._since = self._clock()
        return turned

    def _state(self, bell: Bell) -> BellState:
        if bell not in self._full.bells:
            return BellState.OFF
        if bell not in self._announced:
            return BellState.REFUSED if bell in self._refused else BellState.DOWN
        if bell in self._stale or self._away_since is not None:
            return BellState.AWAY
        return BellState.DEAF if bell in self._trust.deaf else BellState.READY

    def _view(self, session: Connection) -> Snapshot:
        now = self._clock()
        silences = {bell: self._trust.silence(bell) for bell in session.ready}
        return Snapshot(
            age=now - session.begun,
            wish=session.wish,
            wanted=self._full.bells,
            joined=session.joined,
            ready=session.ready,
            refused=frozenset(self._refused),
            deaf=self._trust.deaf,
            unheard={bell: now - silence.since for bell, silence in silences.items() if silence},
            suspect=self._trust.suspect,
            doubted=now - self._doubted,
            trouble=session.look(),
            better_key=self._has_better_key(session),
            requested=self._open_request(session, now),
            asked=now - self._asked,
            ask_after=self._ask_after,
            tried=now - self._tried,
            renewing=self._successor is not None,
        )

    def _open_request(self, session: Connection, now: float) -> Request | None:
        """Return the request for a newer connection, unless this one is what it asked for."""
        self._answer(session)
        if not self._request:
            return None
        reason, at = self._request
        return Request(reason, now - at, self._request_pause)

    def _answer(self, session: Connection) -> None:
        """Take a session for what was asked for, if it was begun after that."""
        if self._request and session.begun >= self._request[1]:
            self._request = None
            self._hurry.clear()

    def _has_better_key(self, session: Connection) -> bool:
        """Look for another key, but only when the one in use is about to expire."""
        key = session.key
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
