"""Calls a user's function, async or plain, for a limited time."""

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any

from realtime_bridge.base import in_thread
from realtime_bridge.request_tables.request import Request
from realtime_bridge.request_tables.table import RequestFunction


class TimeLimitError(Exception):
    """The function did not return within its time limit."""


async def call(function: RequestFunction, request: Request) -> Any:
    """Call a user's function, async or plain. Raises what it raises, but never SystemExit."""
    try:
        if _is_async(function):
            return await function(request)
        result = await in_thread(function, request)
        return await result if inspect.isawaitable(result) else result
    except SystemExit as error:  # would end the bridge
        raise RuntimeError("the function called exit") from error


def _is_async(function: RequestFunction) -> bool:
    method = getattr(function, "__call__", None)  # noqa: B004 - for an object, its own
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)


async def with_time_limit(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    """Await work. Raises TimeLimitError when the time is up.

    Unlike asyncio.timeout, this does not wait until the cancelled work has ended.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise TimeLimitError
        if task.cancelled():
            raise RuntimeError("the function cancelled itself")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_ignore_exception)


def _ignore_exception(task: asyncio.Task[Any]) -> None:
    """Mark an exception as retrieved: nobody waits for the task any more."""
    if not task.cancelled():
        task.exception()
