"""A scripted server, doorbells that listen to it, and a check for what they leave behind."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.doorbell.harness import DoorbellHarness
from tests.doorbell.scripted_server import ScriptedRealtime


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a running task or an unretrieved exception behind."""
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
    """A server that behaves until a test scripts it otherwise."""
    server = ScriptedRealtime()
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def start_doorbell(server: ScriptedRealtime) -> AsyncIterator[Callable[..., DoorbellHarness]]:
    """Start doorbells; none may end by itself, dial in a spin, or outlive the test."""
    harnesses: list[DoorbellHarness] = []

    def start(**options: Any) -> DoorbellHarness:
        harnesses.append(DoorbellHarness(options.pop("url", server.url), **options))
        return harnesses[-1]

    yield start

    for harness in harnesses:
        assert harness.stopped or not harness.task.done(), "run() ended by itself"
        await harness.stop()
        assert not harness.spun
        assert not harness.doorbell.status.healthy
