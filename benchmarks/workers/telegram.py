"""The bot of the other contenders: aiogram as in its documentation."""

import os

from aiogram import Bot
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ParseMode

from benchmarks.workers.trust import trust


def bot() -> Bot:
    """A bot for the sink."""
    trust()
    server = TelegramAPIServer.from_base(os.environ["TELEGRAM_API_URL"])
    return Bot(
        os.environ["BOT_TOKEN"],
        session=AiohttpSession(api=server),
        default=DefaultBotProperties(parse_mode=ParseMode.HTML),
    )
