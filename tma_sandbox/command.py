"""The stack in the foreground, until somebody stops it."""

import asyncio
import shlex
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from tma_sandbox import envfile
from tma_sandbox.errors import StackError
from tma_sandbox.progress import Progress
from tma_sandbox.stack import SETTINGS, LocalStack

_STOPPED = 0
_CONFIGURATION = 78  # EX_CONFIG of sysexits.h
_COLUMNS = 80


async def run_local(
    port: int,
    env_file: Path,
    *,
    migrations: Path,
    run: str,
    changes_poll: tuple[float, float] = (0.1, 0.5),
    data_dir: Path | None = None,
    signing_keys: Path | None = None,
    echo: Callable[[str], None] = print,
) -> int:
    """Run the stack until SIGINT or SIGTERM; the exit code.

    `migrations` is the folder that is applied; `run` the command that uses the stack, which is
    shown with the option that names the settings.

    Tells `echo` each step, the settings that a bridge needs, and `ready`. The settings are made
    up and open nothing but this stack, so they are shown; they are in `env_file` as long as it
    runs. What cannot be started is told in words, with 78 as the exit code.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, asked.set)
    if problem := envfile.obstacle(env_file, SETTINGS):
        echo(f"error: {problem}")
        return _CONFIGURATION
    progress = Progress(echo)
    stack = LocalStack(
        port,
        changes_poll=changes_poll,
        data_dir=data_dir,
        migrations=migrations,
        signing_keys=signing_keys,
        progress=progress.step,
    )
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


def _show(
    settings: Mapping[str, str], env_file: Path, run: str, echo: Callable[[str], None]
) -> None:
    echo(f"Settings written to {env_file}, until this ends:")
    for name, value in settings.items():
        echo(fitting(f"{name}={value}", _COLUMNS))
    echo("In another terminal:")
    echo(f"  {run} --env-file {shlex.quote(str(env_file))}")
    echo("ready")


def fitting(line: str, columns: int) -> str:
    """A line that a terminal of this width does not wrap.

    >>> fitting("SUPABASE_KEY=eyJhbGciOi", 20)
    'SUPABASE_KEY=eyJh...'
    """
    return line if len(line) <= columns else f"{line[: columns - 3]}..."
