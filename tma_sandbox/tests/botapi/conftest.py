"""A Bot API, with an HTTP client and an aiogram bot."""

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from botapi_kit import TOKEN, a_bot

from tma_sandbox.botapi import BotApi, create_app


@pytest.fixture
async def url():
    """The address of a Bot API of its own."""
    async with TestServer(create_app(BotApi(bot_token=TOKEN))) as server:
        yield str(server.make_url("/")).rstrip("/")


@pytest.fixture
async def http(url):
    """An HTTP client for our own paths."""
    async with aiohttp.ClientSession(url) as session:
        yield session


@pytest.fixture
async def bot(url):
    """An aiogram bot with the token of these tests."""
    async with a_bot(url) as bot:
        yield bot
