"""What the tests of the Bot API do to it."""

from contextlib import asynccontextmanager

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

TOKEN = "4200000001:AAlocal-local-local-local-local-local"
CHAT = 700_100_200


@asynccontextmanager
async def a_bot(url: str, token: str = TOKEN):
    """An aiogram bot that talks to this server."""
    session = AiohttpSession(api=TelegramAPIServer.from_base(url), timeout=5)
    yield Bot(token, session=session)
    if session._session:  # its own close() waits a quarter of a second for TLS, for each test
        await session._session.close()


async def sent(http) -> list[dict]:
    """The accepted messages, oldest first."""
    async with http.get("/_sent") as answer:
        return await answer.json()


async def script(http, *faults: dict) -> None:
    """Script the next answers."""
    async with http.post("/_faults", json=list(faults)) as answer:
        assert answer.status == 200, await answer.text()
