"""The doorbell: keeps one subscription alive for ever and says when there is work."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple, assert_never

import structlog

from realtime_bridge.doorbell.backoff import Backoff, PauseAfter, growing
from realtime_bridge.doorbell.bell_board import BellBoard
from realtime_bridge.doorbell.bells import Bell, Mode, wanted
from realtime_bridge.doorbell.connection import Connection, Endpoint
from realtime_bridge.doorbell.connections import Connections
from realtime_bridge.doorbell.faults import Fault, Reason, longest_pause
from realtime_bridge.doorbell.hearing import Hearing
from realtime_bridge.doorbell.key import KeyWatch
from realtime_bridge.doorbell.notifier import Notifier
from realtime_bridge.doorbell.observer import DoorbellObserver
from realtime_bridge.doorbell.policy import Distrust, GiveUp, Keep, Renew, Replace, decide
from realtime_bridge.doorbell.renewals import Renewals
from realtime_bridge.doorbell.snapshot import Snapshot
from realtime_bridge.doorbell.status import DoorbellStatus
from realtime_bridge.doorbell.subscription import Subscription
from realtime_bridge.doorbell.ticker import Ticker
from realtime_bridge.doorbell.timing import Timing
from realtime_bridge.model import Wake

log = structlog.get_logger()

TIMING = Timing()
UNOBSERVED = DoorbellObserver()
# A ring for this "table" says that the bells themselves have changed: `select bridge.ring('bells')`
# at the end of a fix. A bell that works passes it on for the one that does not.
BELLS = "bells"


class _Successor(NamedTuple):
    connection: Connection
    renewal: Renew


class Doorbell:
    """Rings when rows are inserted: `wake` is called with the bell that rang, or READY.

    A doorbell only: it promises nothing about single rows, and whoever is woken looks at the
    table. After every gap it rings once with READY, so that rows inserted meanwhile are found.

    One connection with one channel carries both bells. Whatever happens to it, run() builds
    another: at once beside the old one while that still works (a key that expires, a bell to ask
    for again, an old connection), or else after a pause that grows with each failure.
    """

    def __init__(
        self,
        *,
        url: str,
        key: Callable[[], str],
        tables: Sequence[str],
        wake: Callable[[Wake], None],
        mode: Mode = "both",
        api_key: Callable[[], str] | None = None,
        pause: PauseAfter = growing,
        observer: DoorbellObserver = UNOBSERVED,
        timing: Timing = TIMING,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Describe what to listen to.

        `url`: the Supabase project's base address. `key()`: the key to use now; read for every
        connection, and shortly before the key in use expires. `tables`: the names of ours; a ring
        that names another table is ignored.
        `api_key()`: the key that the gateway knows, if that is another one; only a `key()` that is
        a JWT can go behind it.
        `pause(failures, longest)`: the seconds until the next try after this many failures.
        `clock` counts seconds; `now` is the time of day, for keys that expire.
        """
        self._timing = timing
        self._clock = clock
        self._notifier = Notifier(wake, observer, clock)
        hearing = Hearing(tables, timing.skew)
        self._bells = BellBoard(wanted(mode), hearing, self._notifier, timing, clock)
        self._keys = KeyWatch(key, now, timing.token_warning)
        self._ticker = Ticker(timing, clock)
        self._renewals = Renewals(timing, clock)
        self._backoff = Backoff(pause)
        self._successor: _Successor | None = None
        endpoint = Endpoint(url, key, api_key)
        self._connections = Connections(endpoint, timing, clock, self._ticker.changed, self._rang)

    @property
    def healthy(self) -> bool:
        """Whether a ring can be expected from at least one bell."""
        return self._bells.healthy

    @property
    def status(self) -> DoorbellStatus:
        """How the doorbell is at this moment."""
        return DoorbellStatus(
            changes=self._bells.state(Bell.CHANGES),
            broadcast=self._bells.state(Bell.BROADCAST),
            healthy=self._bells.healthy,
            since=self._bells.health_since,
            last_error=self._notifier.last_error,
            rebuilds=self._notifier.rebuilds,
        )

    def expect(self, table: str, inserted: Iterable[float]) -> None:
        """Report rows that were claimed just now and must have rung when they were inserted.

        `inserted`: the earliest moments, by the doorbell's clock, at which that can have been.
        Only rows that were due when they were inserted, and are claimed for the first time.
        """
        self._bells.hearing.expect(table, inserted, self._bells.announced, self._clock())

    def renew(self, reason: Reason = Reason.TOKEN) -> None:
        """Ask for a new connection now, beside the one that works, and for all bells on it.

        For whatever makes this one outdated: another key, another right, a publication that was
        fixed. It is tried until it works.
        """
        self._renewals.request(reason)
        self._renewals.retry_soon()
        self._ticker.changed()

    def database(self, *, away: bool) -> None:
        """Report whether the database answers. While it does not, nothing can ring.

        Realtime does not report this: channels stay joined and heartbeats are answered. If the
        database was away for long, the server may have stopped listening to its changes for good;
        then only a new subscription helps.
        """
        if away:
            self._bells.lose_database()
        elif self._bells.regain_database() and self._bells.outdated:
            self.renew(Reason.AWAY)

    async def run(self) -> None:
        """Keep the doorbell ringing; return only by being cancelled."""
        subscription = self._everything
        while True:
            try:
                subscription = await self._attend(subscription)
            except Exception:
                log.exception("doorbell_bug")
                subscription = self._everything
                self._fail(Fault(Reason.INTERNAL, "a bug of the bridge, see the log"), lasted=False)
            await self._pause()

    async def _attend(self, subscription: Subscription) -> Subscription:
        """Keep a connection, and its successors, until one fails; return what to ask for next."""
        current = self._connect(subscription)
        try:
            while True:
                if await self._ticker.tick():
                    self._bells.hearing.overslept(self._clock())
                self._announce(current)
                current = await self._hand_over(current)
                action = decide(self._snapshot(current), self._timing)
                if not isinstance(action, Replace):
                    self._act(current, action)
                elif second := self._second_try(action.fault):
                    await self._connections.close(current)
                    current = second
                else:
                    self._fail(action.fault, lasted=current.lasted)
                    return self._next_subscription(current.subscription, action.fault)
        finally:
            self._bells.withdraw()
            self._successor = None
            await self._connections.close(*self._connections.open)

    async def _pause(self) -> None:
        """Wait before the next connection, unless somebody asks for one now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.pause):
                await self._renewals.urgent.wait()
        self._renewals.urgent.clear()

    @property
    def _everything(self) -> Subscription:
        return Subscription.to(self._bells.wanted)

    def _connect(self, subscription: Subscription) -> Connection:
        if subscription == self._everything:
            self._renewals.asked_for_all = self._clock()
        return self._connections.start(subscription)

    def _announce(self, connection: Connection) -> None:
        fresh = connection.ready - self._bells.announced.keys()
        self._bells.announce(fresh, private=connection.subscription.private)
        if fresh and connection.key:
            self._keys.warn(connection.key, last_call=False)
        self._retry_soon_if_complete()

    async def _hand_over(self, current: Connection) -> Connection:
        """Return the successor if it is ready; close it if it never will be."""
        if not self._successor:
            return current
        successor, renewal = self._successor
        fault = successor.look()
        if renewal.reason is Reason.SLOW and current.complete:
            leaving = successor
        elif fault or self._clock() - successor.begun >= self._timing.ready_timeout:
            fault = fault or Fault(Reason.NOT_READY, "not ready in time")
            self._renewal_failed(self._successor, fault)
            leaving = successor
        elif successor.complete:
            self._promote(self._successor)
            leaving, current = current, successor
        else:
            return current
        self._successor = None
        await self._connections.close(leaving)
        return current

    def _promote(self, successor: _Successor) -> None:
        self._bells.withdraw()
        self._bells.hearing.renewed(successor.renewal.suspect)
        self._notifier.rebuilt(successor.renewal.reason)
        self._announce(successor.connection)

    def _renewal_failed(self, successor: _Successor, fault: Fault) -> None:
        """Keep the old connection. A request stays open, unless the server said no to it."""
        self._notifier.kept(successor.renewal.reason, fault.text)
        self._renewals.fail(longest_pause(fault, self._timing))
        if fault.refusal and successor.renewal.everything:
            self._renewals.answer(successor.connection)

    def _second_try(self, fault: Fault) -> Connection | None:
        """Return the successor that was begun because the connection that failed was slow.

        None after a refusal: the server would refuse the second try as well.
        """
        second = self._successor
        slow = second and second.renewal.reason is Reason.SLOW and not self._bells.announced
        if not second or not slow or fault.refusal:
            return None
        self._successor = None
        self._notifier.slow(fault)
        self._notifier.rebuilt(fault.reason)
        self._ticker.changed()
        return second.connection

    def _act(self, current: Connection, action: Keep | Renew | Distrust | GiveUp) -> None:
        match action:
            case Keep():
                pass
            case Renew():
                self._renew(current, action)
            case Distrust():
                self._bells.distrust(action.bells)
            case GiveUp():
                text = f"no answer within {self._timing.ready_timeout:g} s"
                self._bells.refuse(action.bells, text)
            case _:
                assert_never(action)

    def _renew(self, current: Connection, renewal: Renew) -> None:
        self._bells.suspect(renewal.suspect)
        self._notifier.renewing(renewal.reason)
        self._renewals.begin(renewal)
        subscription = self._everything if renewal.everything else current.subscription
        self._successor = _Successor(self._connect(subscription), renewal)

    def _fail(self, fault: Fault, *, lasted: bool) -> None:
        """Report that the current connection is gone, and choose the pause that follows."""
        self._backoff.fail(lasted=lasted, longest=longest_pause(fault, self._timing))
        self._notifier.lost(fault, self._backoff.pause)
        self._bells.lose(fault.reason)
        self._notifier.rebuilt(fault.reason)

    def _next_subscription(self, subscription: Subscription, fault: Fault) -> Subscription:
        """Ask for less after a refusal, and for everything again after a while."""
        if not fault.refusal:
            return self._everything if self._renewals.retry_due else subscription
        left = subscription.without(fault.refusal)
        refused = subscription.bells - left.bells if left else subscription.bells
        self._bells.refuse(refused, fault.text)
        return left or self._everything

    def _rang(self, bell: Bell, table: str | None) -> None:
        """Pass a ring on. Called from the library's reading loop: must not raise."""
        if table == BELLS:
            self._renewals.retry_soon()
            return
        if table is None or table in self._bells.hearing.tables:
            self._bells.rang(bell, table)
            self._retry_soon_if_complete()

    def _retry_soon_if_complete(self) -> None:
        """With nothing missing, ask soon for what is missing next."""
        if self._bells.complete:
            self._renewals.retry_soon()

    def _snapshot(self, current: Connection) -> Snapshot:
        now, hearing = self._clock(), self._bells.hearing
        silences = {bell: hearing.silence(bell) for bell in current.ready}
        return Snapshot(
            age=now - current.begun,
            subscription=current.subscription,
            wanted=self._bells.wanted,
            joined=current.joined,
            ready=current.ready,
            refused=self._bells.refused,
            deaf=hearing.deaf,
            silent={bell: now - silence.since for bell, silence in silences.items() if silence},
            suspect=hearing.suspect,
            fault=current.look(),
            better_key=self._has_better_key(current),
            requested=self._renewals.open_request(current),
            retry_after=self._renewals.retry_after,
            since_full=now - self._renewals.asked_for_all,
            since_renewal=now - self._renewals.begun,
            since_silence=now - self._renewals.begun_for_silence,
            renewing=self._successor is not None,
        )

    def _has_better_key(self, connection: Connection) -> bool:
        """Look for another key, but only when the one in use is about to expire."""
        key = connection.key
        if not key or self._keys.left(key) > self._timing.token_margin:
            return False
        better = self._keys.better_than(key)
        if not better:
            self._keys.warn(key, last_call=True)
        return better
