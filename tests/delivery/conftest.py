"""The world, the wires to it, which can be cut, and processes that end with the test."""

import pytest
import pytest_asyncio

from tests.delivery.proxy import Proxy
from tests.integration.kit import Process, World


@pytest_asyncio.fixture(loop_scope="session")
async def world(clean_stack):
    """The stack that the whole run shares, emptied, seen from outside."""
    async with World.around(clean_stack) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def supabase(world):
    """The wire to the database."""
    async with Proxy(world.stack.port) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="session")
async def telegram(world):
    """The wire to Telegram."""
    async with Proxy(world.stack.port) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="session")
async def start(tmp_path):
    """Start processes that are gone after the test, whatever it did."""
    processes = []

    async def start_one(*arguments, env=None, code=None):
        processes.append(await Process.start(*arguments, cwd=tmp_path, env=env, code=code))
        return processes[-1]

    yield start_one
    for process in processes:
        await process.kill()


def pytest_collection_modifyitems(items):
    """All of them run in the loop that the stack runs in."""
    for item in items:
        if "tests/delivery" in str(item.path):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
