"""A scripted server, doorbells that listen to it, and an eye on what they leave behind."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.doorbell.scripted import ScriptedRealtime
from tests.doorbell.visitor import Visitor


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task running, or an exception that nobody looked at."""
    unseen: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    before = asyncio.all_tasks()

    yield

    gc.collect()
    await asyncio.sleep(0)
    assert not unseen
    assert asyncio.all_tasks() - before - {asyncio.current_task()} == set()


@pytest.fixture
async def server(nothing_left: None) -> AsyncIterator[ScriptedRealtime]:
    """A server that behaves, until a test tells it otherwise."""
    server = ScriptedRealtime()
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def visit(server: ScriptedRealtime) -> AsyncIterator[Callable[..., Visitor]]:
    """Start doorbells at the server; each must be gone from it in the end, and never spin."""
    visitors: list[Visitor] = []

    def start(**options: Any) -> Visitor:
        visitors.append(Visitor(options.pop("url", server.url), **options))
        return visitors[-1]

    yield start

    for visitor in visitors:
        assert visitor.left or not visitor.task.done(), "run() ended by itself"
        await visitor.leave()
        assert not visitor.spun
        assert not visitor.doorbell.status.healthy
