"""Calling a user's function: async or plain, for a limited time."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from realtime_bridge.request_tables.request import Request
from realtime_bridge.request_tables.table import Answer


class TookTooLongError(Exception):
    """The function had no answer within its time limit."""


async def ask(function: Answer, request: Request) -> Any:
    """Call a user's function, async or plain. Raises what it raises, but no SystemExit."""
    try:
        if _is_async(function):
            answer = await function(request)
        else:
            answer = await _in_thread(function, request)
            if inspect.isawaitable(answer):
                answer = await answer
    except SystemExit as error:  # would end the bridge
        raise RuntimeError("the function called exit") from error
    return answer


def _is_async(function: Answer) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004 - of an object, its own
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


async def within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    """Await work for so long. Unlike asyncio.timeout this does not wait for it to be cancelled."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise TookTooLongError
        if task.cancelled():
            raise RuntimeError("the function cancelled itself")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Any]) -> None:
    """Nobody waits for it any more, so its exception counts as seen."""
    if not task.cancelled():
        task.exception()


async def _in_thread(function: Answer, request: Request) -> Any:
    """Call a plain function in a thread of its own.

    Not the loop's executor: planners that hang would take its few threads from everybody else,
    and it is waited for when the process ends.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def finish(answer: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result((answer, error))

    def work() -> None:
        try:
            done: tuple[Any, BaseException | None] = (context.run(function, request), None)
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            done = (None, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, *done)

    threading.Thread(target=work, name="answer", daemon=True).start()
    answer, error = await future
    if error is not None:
        raise error
    return answer
