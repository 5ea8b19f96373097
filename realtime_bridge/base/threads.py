"""Blocking work in a thread that nothing waits for when the process ends."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a plain function in a daemon thread of its own. Raises what it raises.

    Not asyncio.to_thread: there, calls that hang would take the loop's few threads from everybody
    else, and the end of the process would wait for them.
    """
    loop = asyncio.get_running_loop()
    # Not the future's own exception: it takes no StopIteration.
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def finish(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result((result, error))

    def work() -> None:
        result, raised = None, None
        try:
            result = context.run(function, *arguments)
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            raised = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, result, raised)

    threading.Thread(target=work, daemon=True).start()
    result, error = await future
    if error is not None:
        raise error
    return result
