"""Postgres Changes: polls the log while there are subscribers and hands out what it finds."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress

import psycopg
import structlog

from realtime_bridge.backoff import delays
from realtime_bridge.local.realtime.database import Connection, Database
from realtime_bridge.local.realtime.rate import Rate
from realtime_bridge.local.realtime.subscriptions import Subscriber, Subscription
from realtime_bridge.local.realtime.tuning import Limits
from realtime_bridge.local.realtime.visibility import Delivery, deliveries
from realtime_bridge.local.realtime.wal import Slot

log = structlog.get_logger(__name__)


class ChangeFeed:
    """Reads one publication through a temporary slot.

    The slot exists while somebody subscribes and a while longer; what is committed while there
    is none is lost, as on the real server. It polls every `poll[0]` seconds, when idle less and
    less often down to every `poll[1]`.
    """

    def __init__(
        self,
        database: Database,
        publication: str,
        subscriptions: Callable[[], Collection[Subscription]],
        *,
        poll: tuple[float, float],
        idle: float,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._publication = publication
        self._subscriptions = subscriptions
        self._poll = poll
        self._idle = idle
        self._limits = limits
        self._clock = clock
        self._rate = Rate(limits.events_per_second, clock)
        self._last_used = clock()
        self._reading = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.paused = False  # read on, but hand out nothing
        self.polls = 0  # how often the log was looked at and what it had was dealt with

    @property
    def is_reading(self) -> bool:
        """Whether what is committed now will be seen."""
        return self._reading.is_set()

    async def until_reading(self) -> None:
        """Start if need be, and wait until the slot exists."""
        self._last_used = self._clock()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="realtime changes")
        await self._reading.wait()

    async def stop(self) -> None:
        """Drop the slot and end; may be started again."""
        self._stopping.set()
        if self._task is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._task, timeout=2)
            self._task = None
        self._stopping.clear()

    async def _run(self) -> None:
        waits = delays(first=0.1, cap=2.0)
        while not self._stopping.is_set():
            try:
                async with await self._database.connect("rls") as conn:
                    slot = Slot(conn, f"local_realtime_{secrets.token_hex(6)}", self._publication)
                    await slot.create()
                    self._reading.set()
                    waits = delays(first=0.1, cap=2.0)
                    await self._follow(conn, slot)
                    self._reading.clear()
                    await slot.drop()
                if self._is_idle():
                    return
            except (psycopg.Error, ValueError) as error:
                log.warning("realtime_changes_interrupted", error=str(error).strip())
            finally:
                self._reading.clear()
            await self._sleep(next(waits))

    async def _follow(self, conn: Connection, slot: Slot) -> None:
        """Poll until stopped, or until nobody has subscribed for a while."""
        wait = self._poll[0]
        while not (self._stopping.is_set() or self._is_idle()):
            changed = await self.step(conn, slot)
            self.polls += 1
            if changed:
                wait = self._poll[0]
            else:
                await self._sleep(wait)
                wait = min(wait * 2, self._poll[1])

    def _is_idle(self) -> bool:
        if self._subscriptions():
            self._last_used = self._clock()
        return self._clock() - self._last_used > self._idle

    async def step(self, conn: Connection, slot: Slot) -> bool:
        """Poll once; tell whether anything was there."""
        found = await slot.read()
        most = self._limits.transaction_rows
        changes = [
            change
            for transaction in found
            if most is None or len(transaction) <= most
            for change in transaction
        ]
        subscriptions = self._subscriptions()
        if not changes or not subscriptions or self.paused or self._rate.exceeded:
            return bool(found)
        for delivery in await deliveries(conn, changes, subscriptions, self._limits.record_bytes):
            self._hand_out(delivery)
        return True

    def _hand_out(self, delivery: Delivery) -> None:
        ids: dict[Subscriber, list[int]] = defaultdict(list)
        for subscription in delivery.subscriptions:
            ids[subscription.subscriber].insert(0, subscription.binding)  # the real one's order
        for subscriber, bindings in ids.items():
            subscriber.changed(delivery.data, bindings)
        self._rate.count(len(ids))

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
