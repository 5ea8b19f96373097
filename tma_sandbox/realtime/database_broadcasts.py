"""Broadcasts from the database: rows of `realtime.messages` go out within milliseconds."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
import structlog

from tma_sandbox import backoff
from tma_sandbox.realtime.database import Connection, Database
from tma_sandbox.realtime.frames import Json

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DatabaseBroadcast:
    """One row of `realtime.messages`."""

    id: str
    topic: str
    event: str
    payload: Json
    private: bool


class BroadcastFeed:
    """Listens for new rows of `realtime.messages`; the notification carries the row's id.

    Messages sent while Postgres is down, or before this has reconnected, are lost. It reconnects a
    random time within the range `back` (seconds) after Postgres is up again.
    """

    def __init__(
        self,
        database: Database,
        deliver: Callable[[DatabaseBroadcast], None],
        *,
        back: tuple[float, float],
        rand: random.Random,
    ) -> None:
        self._database = database
        self._deliver = deliver
        self._back = back
        self._rand = rand
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.paused = False  # keep listening, but deliver nothing

    async def until_listening(self) -> None:
        """Start if necessary, and wait until the next message would be heard."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="realtime broadcasts")
        await self._listening.wait()

    async def stop(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        waits, hesitation = backoff.delays(first=0.1, cap=2.0), 0.0
        while True:
            try:
                # Notifications arrive on one connection while the other fetches rows.
                async with (
                    await self._database.connect("listen") as ears,
                    await self._database.connect("messages") as hands,
                ):
                    await asyncio.sleep(hesitation)
                    await ears.execute("listen realtime_messages")
                    self._listening.set()
                    waits = backoff.delays(first=0.1, cap=2.0)
                    await self._follow(ears, hands)
            except psycopg.Error as error:
                log.warning("realtime_broadcasts_interrupted", error=str(error).strip())
            finally:
                self._listening.clear()
            hesitation = self._rand.uniform(*self._back)
            await asyncio.sleep(next(waits))

    async def _follow(self, ears: Connection, hands: Connection) -> None:
        async for notification in ears.notifies():
            if self.paused:
                continue
            cursor = await hands.execute(
                "select id::text, topic, event, payload::text, private"
                " from realtime.messages where id = %s::uuid",
                (notification.payload,),
                prepare=True,
            )
            for id_, topic, event, payload, private in await cursor.fetchall():
                body = Json("{}" if payload is None else payload)
                self._deliver(DatabaseBroadcast(id_, topic, event, body, bool(private)))
