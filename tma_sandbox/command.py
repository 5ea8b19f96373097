"""Runs the stack in the foreground until it is stopped."""

import asyncio
import shlex
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from tma_sandbox import envfile
from tma_sandbox.errors import EXIT_CONFIGURATION, StackError
from tma_sandbox.progress import Progress
from tma_sandbox.stack import SETTINGS, LocalStack

_STOPPED = 0
_COLUMNS = 80


async def run_local(
    make: Callable[..., LocalStack],
    env_file: Path,
    *,
    command: str,
    run: str,
    echo: Callable[[str], None] = print,
) -> int:
    """Run a stack until SIGINT or SIGTERM; return the exit code, 78 if it cannot start.

    `make` creates the stack; it takes `progress`. `command` is the one that the user ran, and
    `run` one that uses the stack; the output suggests both with the option --env-file.

    Passes each step to `echo`, then the settings, which are valid for this stack only, and are in
    `env_file` while it runs, then `ready`.
    """
    asked = asyncio.Event()
    for sig in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sig, asked.set)
    if problem := envfile.obstacle(env_file, SETTINGS, command=command):
        echo(f"error: {problem}")
        return EXIT_CONFIGURATION
    progress = Progress(echo)
    stack = make(progress=progress.step)
    try:
        async with progress.reminding():
            started = await _unless(asked, stack.start())
        if started:
            settings = stack.env()
            with envfile.lent(env_file, settings):
                _show(settings, env_file, run, echo)
                await asked.wait()
        echo("stopping")
    except StackError as error:
        echo(f"error: {error}")
        return EXIT_CONFIGURATION
    finally:
        await stack.stop()
    echo("stopped")
    return _STOPPED


async def _unless(asked: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work`; cancel it and return False if the event is set first."""
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


def _show(
    settings: Mapping[str, str], env_file: Path, run: str, echo: Callable[[str], None]
) -> None:
    echo(f"Settings in {env_file} while this runs:")
    for name, value in settings.items():
        echo(fitting(f"{name}={value}", _COLUMNS))
    echo("In another terminal:")
    echo(f"  {run} --env-file {shlex.quote(str(env_file))}")
    echo("ready")


def fitting(line: str, columns: int) -> str:
    """Shorten a line so that a terminal of this width does not wrap it.

    >>> fitting("SUPABASE_KEY=eyJhbGciOi", 20)
    'SUPABASE_KEY=eyJh...'
    """
    return line if len(line) <= columns else f"{line[: columns - 3]}..."
