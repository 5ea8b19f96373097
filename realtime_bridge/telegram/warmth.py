"""A connection to Telegram that is open when a message needs one."""

import asyncio

from aiogram import Bot
from aiogram.methods import GetMe

from realtime_bridge.telegram.wire import KEEP_ALIVE_SECONDS, Session

# A connection that idled for longer may lapse while the message is on its way to it.
FRESH_SECONDS = KEEP_ALIVE_SECONDS - 10.0


class Warmth:
    """Opens a connection beside the claim, when none can be counted on.

    With a harmless call; what it is answered does not matter. While nothing is inserted nothing is
    asked. A bot of somebody else's keeps its connections as its owner likes.
    """

    def __init__(self, bot: Bot, timeout: float) -> None:
        """`timeout`: seconds for the call."""
        self._bot = bot
        self._timeout = timeout
        self._warming: asyncio.Task[None] | None = None

    def expect(self) -> None:
        """A message is likely in a moment; callable any number of times, from callbacks."""
        session = self._bot.session
        if self._warming is None and isinstance(session, Session) and session.idle > FRESH_SECONDS:
            self._warming = asyncio.create_task(self._warm(), name="warmth")
            self._warming.add_done_callback(self._done)

    async def _warm(self) -> None:
        await self._bot(GetMe(), request_timeout=int(self._timeout))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._warming = None
        if not task.cancelled():
            task.exception()  # the message that follows will say so, if it is still wrong
