"""What the operator's tests share: a stack of their own to break, and commands to run."""

import logging
import os

import pytest
import pytest_asyncio
import structlog

from realtime_bridge.database import migrations_directory
from tests.integration.kit import World
from tests.ops.project import Project
from tma_sandbox.realtime import Delays
from tma_sandbox.stack import LocalStack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def breakable():
    """A stack that only this module's tests break, and mend."""
    async with LocalStack(
        migrations=migrations_directory(), changes_poll=(0.005, 0.02), delays=Delays.none()
    ) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def project(breakable, tmp_path):
    """That stack with the folder of a project that is configured for it, and has had a bridge."""
    async with World.around(breakable) as world:
        project = Project(world, tmp_path)
        await project.register_bot()
        yield project


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Commands run in this process: their logging is put back, and our settings are hidden."""
    for name in os.environ:
        if name.startswith(("SUPABASE_", "BOT_TOKEN", "DATABASE_URL", "HTTP_")):
            monkeypatch.delenv(name)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()
