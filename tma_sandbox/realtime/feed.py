"""Postgres Changes: polls the log while there are subscribers and delivers the changes."""

import asyncio
import random
import secrets
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

import psycopg
import structlog

from tma_sandbox import backoff
from tma_sandbox.realtime.channel_registry import ChannelRegistry
from tma_sandbox.realtime.database import Connection, Database
from tma_sandbox.realtime.delays import Delays
from tma_sandbox.realtime.event_rate import EventRate
from tma_sandbox.realtime.limits import Limits
from tma_sandbox.realtime.poll_schedule import PollResult, PollSchedule
from tma_sandbox.realtime.subscriptions import Subscriber
from tma_sandbox.realtime.visibility import Delivery, deliveries
from tma_sandbox.realtime.wal import Slot

log = structlog.get_logger(__name__)

_LAG = """
    select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint
    from pg_replication_slots where slot_name = %s
"""


class ChangeFeed:
    """Reads one publication through a temporary slot.

    The slot exists while there are subscribers and a while longer; changes committed without a
    slot are lost, as on the real server. It polls again at once after delivering a change, after
    `poll[0]` seconds if nobody had subscribed to what it found, and after `poll[1]` if it found
    nothing.

    If the database is down for too long it gives up and drops all subscriptions. The next
    subscriber starts it again.
    """

    def __init__(
        self,
        database: Database,
        publication: str,
        channels: ChannelRegistry,
        *,
        poll: tuple[float, float],
        delays: Delays,
        limits: Limits,
        clock: Callable[[], float],
        rand: random.Random,
    ) -> None:
        self._database = database
        self._publication = publication
        self._channels = channels
        self._schedule = PollSchedule(*poll, limits.changes_per_second)
        self._delays = delays
        self._limits = limits
        self._clock = clock
        self._rand = rand
        self._rate = EventRate(limits.events_per_second, clock)
        self._last_used = clock()
        self._reading = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._slot_name = ""
        self.paused = False  # keep reading, but deliver nothing
        self.polls = 0  # polls whose changes have been dealt with

    @property
    def is_reading(self) -> bool:
        """Whether a change committed now will be seen."""
        return self._reading.is_set()

    async def until_reading(self) -> None:
        """Start if necessary, and wait until the slot exists."""
        self._last_used = self._clock()
        while not self._reading.is_set():
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run(), name="realtime changes")
            reading = asyncio.create_task(self._reading.wait())
            try:
                # If it gives up meanwhile, the loop starts it again.
                await asyncio.wait((reading, self._task), return_when=asyncio.FIRST_COMPLETED)
            finally:
                reading.cancel()

    async def lag(self) -> int:
        """How many bytes of the log the slot is behind; 0 without a slot.

        Raises psycopg.OperationalError when the database is down.
        """
        async with self._database.shared() as conn:
            cursor = await conn.execute(_LAG, (self._slot_name,))
            row = await cursor.fetchone()
        return int(row[0]) if row else 0

    async def give_up(self) -> None:
        """Give up now, as in a long outage of the database."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        self._channels.forget_subscriptions()

    async def stop(self) -> None:
        """Drop the slot and stop; it can be started again."""
        self._stopping.set()
        if self._task is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._task, timeout=2)
            self._task = None
        self._stopping.clear()

    async def _run(self) -> None:
        """Read until there are no subscribers, or the database has been down for too long."""
        waits, deadline = backoff.delays(first=0.1, cap=2.0), None
        while not self._stopping.is_set():
            try:
                async with await self._database.connect("rls") as conn:
                    slot = await self._create_slot(conn)
                    waits, deadline = backoff.delays(first=0.1, cap=2.0), None
                    await self._follow(conn, slot)
                    self._reading.clear()
                    await slot.drop()
                if self._is_idle():
                    return
            except (psycopg.Error, ValueError) as error:
                log.warning("realtime_changes_interrupted", error=str(error).strip())
                if deadline is None:
                    deadline = self._clock() + self._rand.uniform(*self._delays.gives_up)
            finally:
                self._reading.clear()
            left = float("inf") if deadline is None else deadline - self._clock()
            if left <= 0:
                log.warning("realtime_poller_gave_up")
                self._channels.forget_subscriptions()
                return
            await self._sleep(min(next(waits), left))

    async def _create_slot(self, conn: Connection) -> Slot:
        self._slot_name = f"local_realtime_{secrets.token_hex(6)}"
        slot = Slot(conn, self._slot_name, self._publication)
        await slot.create()
        self._reading.set()
        return slot

    async def _follow(self, conn: Connection, slot: Slot) -> None:
        """Poll until stopped, or until there have been no subscribers for a while."""
        while not (self._stopping.is_set() or self._is_idle()):
            found = await self.step(conn, slot)
            self.polls += 1
            await self._sleep(self._schedule.pause(found))

    def _is_idle(self) -> bool:
        if self._channels.subscriptions():
            self._last_used = self._clock()
        return self._clock() - self._last_used > self._delays.idle

    async def step(self, conn: Connection, slot: Slot) -> PollResult:
        """Poll once and deliver what was found."""
        most = self._limits.transaction_rows
        changes = [
            change
            for transaction in await slot.read()
            if most is None or len(transaction) <= most
            for change in transaction
        ]
        subscriptions = self._channels.subscriptions()
        if not changes or not subscriptions or self.paused or self._rate.exceeded:
            return PollResult(len(changes), wanted=False)
        wanted = await deliveries(conn, changes, subscriptions, self._limits.record_bytes)
        for delivery in wanted:
            self._deliver(delivery)
        return PollResult(len(changes), wanted=bool(wanted))

    def _deliver(self, delivery: Delivery) -> None:
        ids: dict[Subscriber, list[int]] = defaultdict(list)
        for subscription in delivery.subscriptions:
            # In the real server's order.
            ids[subscription.subscriber].insert(0, subscription.binding_id)
        for subscriber, bindings in ids.items():
            subscriber.changed(delivery.data, bindings)
        self._rate.count(len(ids))

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
