"""Proxies to the database and to Telegram, whose connections can be cut."""

import pytest_asyncio

from tests.delivery.proxy import Proxy


@pytest_asyncio.fixture(loop_scope="session")
async def supabase(world):
    """The proxy to the database."""
    async with Proxy(world.stack.port) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="session")
async def telegram(world):
    """The proxy to Telegram."""
    async with Proxy(world.stack.port) as proxy:
        yield proxy
