"""One embedded stack for all integration tests, cleaned before each."""

import pytest
import pytest_asyncio

from realtime_bridge.local.stack import LocalStack
from tests.integration.kit import Process, World


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world():
    """The stack that the whole run shares, seen from outside."""
    async with LocalStack() as stack, World.around(stack) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def clean_world(world):
    """Start every test with no rows, no messages and no faults."""
    await world.clean()


@pytest_asyncio.fixture(loop_scope="session")
async def start(tmp_path):
    """Start processes that are gone after the test, whatever it did."""
    processes = []

    async def start_one(*arguments, env=None, cwd=tmp_path, code=None):
        processes.append(await Process.start(*arguments, cwd=cwd, env=env, code=code))
        return processes[-1]

    yield start_one
    for process in processes:
        await process.kill()


def pytest_collection_modifyitems(items):
    """All of them run in the loop that the stack runs in."""
    for item in items:
        if "tests/integration" in str(item.path):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
