"""An aiogram bot that runs the bridge inside itself.

Needs SUPABASE_URL, SUPABASE_KEY and BOT_TOKEN in the environment or in .env:

    python examples/embedded_bot.py
"""

import sys

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import CommandStart
from aiogram.types import Message

from realtime_bridge import Bridge, ConfigurationError, load

try:
    settings = load()
except ConfigurationError as error:
    sys.exit(f"This bot cannot start:\n{error}")
session = AiohttpSession(api=TelegramAPIServer.from_base(settings.telegram_api_url))
bot = Bot(settings.bot_token.get_secret_value(), session=session)
bridge = Bridge(settings, bot=bot)

dispatcher = Dispatcher()
dispatcher.startup.register(bridge.start)
dispatcher.shutdown.register(bridge.stop)


@dispatcher.message(CommandStart())
async def hello(message: Message) -> None:
    """Answer /start, as any bot does."""
    await message.answer("Open the Mini App; confirmations come here.")


if __name__ == "__main__":
    dispatcher.run_polling(bot)
