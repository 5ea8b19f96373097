"""A bot of the bridge's own, where it does not run inside one."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer

from realtime_bridge.settings import Settings
from realtime_bridge.telegram.wire import Session


@asynccontextmanager
async def own_bot(settings: Settings) -> AsyncIterator[Bot]:
    """Open a bot with the session that posts the bridge's messages."""
    session = Session(
        api=TelegramAPIServer.from_base(settings.telegram_api_url), limit=settings.concurrency
    )
    # Importing aiogram leaves two hundred thousand objects that stay for ever. Looking at them
    # again and again was a fifth of the time of a message. In a process that is not ours alone,
    # that is for its owner to decide.
    gc.freeze()
    async with Bot(settings.bot_token.get_secret_value(), session=session) as bot:
        yield bot
