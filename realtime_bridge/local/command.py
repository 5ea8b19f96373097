"""`realtime-bridge local`: the embedded stack in the foreground."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from realtime_bridge.local import envfile
from realtime_bridge.local.errors import StackError
from realtime_bridge.local.stack import LocalStack

_STOPPED = 0
_CONFIGURATION = 78  # EX_CONFIG of sysexits.h


async def run_local(
    port: int,
    env_file: Path | None,
    *,
    changes_poll: tuple[float, float] = (0.1, 0.5),
    data_dir: Path | None = None,
    echo: Callable[[str], None] = print,
) -> int:
    """Run the stack until SIGINT or SIGTERM; the exit code.

    Tells `echo` each step, the settings that a bridge needs, and `ready`. The settings are made
    up and open nothing but this stack, so they are shown; they also go into `env_file`. What
    cannot be started is told in words, with 78 as the exit code.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, asked.set)
    if env_file and (problem := envfile.obstacle(env_file)):
        echo(f"error: {problem}")
        return _CONFIGURATION
    stack = LocalStack(port, changes_poll=changes_poll, data_dir=data_dir, progress=echo)
    try:
        if await _unless(asked, stack.start()):
            _show(stack, env_file, echo)
            await asked.wait()
        echo("stopping")
    except StackError as error:
        echo(f"error: {error}")
        return _CONFIGURATION
    finally:
        await stack.stop()
    echo("stopped")
    return _STOPPED


async def _unless(asked: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` came to its end; it is cancelled when the event is set before."""
    doing = asyncio.create_task(work)
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait((doing, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not doing.done():
        doing.cancel()
    try:
        await doing
    except asyncio.CancelledError:
        return False
    return True


def _show(stack: LocalStack, env_file: Path | None, echo: Callable[[str], None]) -> None:
    settings = stack.env()
    if env_file:
        envfile.update(env_file, settings)
        echo(f"Settings written to {env_file}")
    for name, value in settings.items():
        echo(f"{name}={value}")
    echo("ready")
