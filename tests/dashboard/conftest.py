"""A dashboard of the stack that the run shares, and a browser."""

import pytest_asyncio

from tests.dashboard.kit import running_dashboard


@pytest_asyncio.fixture(loop_scope="session")
async def terminal(world, tmp_path):
    """Where a dashboard was started."""
    async with running_dashboard(world, tmp_path) as terminal:
        yield terminal
