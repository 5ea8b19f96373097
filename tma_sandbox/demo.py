"""Everything on one screen: the stack, the bridge, and a simulated Mini App.

The bridge is a process of its own. The Mini App is the real supabase client with the anon key and a
signed initData header. The screen shows when each row reached which state, by the database's clock,
and the text as the user reads it. The page that /demo leads to shows the same in a browser, where
whoever opens it is the Mini App's user.
"""

import asyncio
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, count, cycle
from pathlib import Path
from typing import Any

import aiohttp
from postgrest.types import ReturnMethod
from rich.console import Console
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from tma_sandbox.errors import EXIT_CONFIGURATION, StackError
from tma_sandbox.npm import find_supabase_js
from tma_sandbox.page import Page, Timelines
from tma_sandbox.process import Program
from tma_sandbox.progress import Progress
from tma_sandbox.screen import Screen
from tma_sandbox.stack import LocalStack

USER = {"id": 700_100_200, "first_name": "Олена", "language_code": "en"}
LEADS = ("Ann_Marie <Smith>", "Olena & Sons", "Żaneta *VIP*", "Bob [the builder] 🚀")
SHOWN = 8
LOOK_SECONDS = 0.1
START_SECONDS = 60.0
STOP_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class BridgeProgram:
    """The program that sends the rows: its command line, and its settings besides the stack's.

    It is ready when its log contains `ready`.
    """

    command: Sequence[str]
    settings: Mapping[str, str]
    ready: str


@dataclass(frozen=True, slots=True)
class Front:
    """The page in which the Mini App and the chat are shown.

    `open` serves it over a running stack with the bridge's settings for as long as its context
    lasts, and yields what makes the address to open. `stylesheet` is for the Mini App and the chat.
    """

    stylesheet: Path
    open: Callable[
        [LocalStack, Mapping[str, str], Timelines],
        AbstractAsyncContextManager[Callable[[], str]],
    ]


def samples(today: datetime) -> Iterator[dict[str, Any]]:
    """Yield what a Mini App writes: one event of each type, then random ones forever."""
    due = (today + timedelta(days=3)).date().isoformat()
    lead = cycle(LEADS)
    kinds: list[dict[str, Any]] = [
        {
            "event_type": "step_completed",
            "payload": {
                "step_id": 1,
                "next_step_id": 2,
                "next_step_desc": "Send the proposal",
                "next_step_due": due,
            },
        },
        {"event_type": "step_skipped", "payload": {"step_id": 2, "reason": "no answer yet"}},
        {"event_type": "status_changed", "payload": {"new_status": "Won"}},
        {"event_type": "lead_assigned", "payload": {"member_name": "Taras"}},
        {"event_type": "coffee_poured", "payload": {}},
    ]
    rest = (random.choice(kinds) for _ in count())  # noqa: S311 - only for variety
    for number, kind in enumerate(chain(kinds, rest), start=1):
        payload = {**kind["payload"], "lead_name": next(lead)}
        yield {**kind, "payload": payload, "lead_id": number, "dedupe_key": f"demo-{number}"}


async def run_demo(
    *,
    migrations: Path,
    bridge: BridgeProgram,
    front: Front,
    port: int,
    every: float,
    count: int | None,
) -> int:
    """Run the demo until Ctrl-C, or until `count` events have ended; return the exit code.

    `migrations` is the folder with the schema of the rows, `bridge` sends them, `front` shows
    them in a browser, and a new row is written `every` so many seconds.
    """
    console = Console()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopping.set)
    work = asyncio.create_task(
        _demo(console, migrations, bridge, front, port=port, every=every, count=count)
    )
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        work.cancel()
    stop.cancel()
    try:
        return await work
    except asyncio.CancelledError:
        console.print("Stopped; nothing is left running.")
        return 0
    except StackError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return EXIT_CONFIGURATION


async def _demo(
    console: Console,
    migrations: Path,
    bridge: BridgeProgram,
    front: Front,
    *,
    port: int,
    every: float,
    count: int | None,
) -> int:
    progress = Progress(lambda text: console.print(text, markup=False, highlight=False))
    async with AsyncExitStack() as running:
        async with progress.reminding():
            page = Page(USER, await _supabase_js(console, progress), front.stylesheet)
            stack = await running.enter_async_context(
                LocalStack(
                    port,
                    migrations=migrations,
                    routes=page.routes(),
                    progress=progress.step,
                )
            )
            timelines = await running.enter_async_context(page.open(stack))
            progress.step("Starting the bridge")
            environment = {**stack.env(), **bridge.settings}
            await running.enter_async_context(_bridge(bridge, environment, console))
            page.front = await running.enter_async_context(
                front.open(stack, environment, timelines)
            )
        delivered = await _show(console, stack, timelines, every=every, count=count)
    console.print(f"{delivered} events delivered; nothing is left running.")
    return 0


async def _show(
    console: Console,
    stack: LocalStack,
    timelines: Timelines,
    *,
    every: float,
    count: int | None,
) -> int:
    """Write rows as the Mini App's user, and show them; return how many were delivered."""
    mini_app = await _mini_app(stack)
    console.print(
        f"The bridge is running. A Mini App user (chat {USER['id']}) now writes rows "
        "with the anon key. Ctrl-C stops."
    )
    console.print(f"Open {stack.url}/demo to write rows yourself.\n", soft_wrap=True)
    screen = Screen(console, f"{stack.url}/demo")
    writing = asyncio.create_task(_write(mini_app, every, count))
    try:
        with screen:
            return await _watch(timelines, screen, count)
    finally:
        writing.cancel()


async def _supabase_js(console: Console, progress: Progress) -> Path | None:
    """The browser's supabase-js; without it nobody can write rows there."""
    try:
        return await asyncio.to_thread(find_supabase_js, progress.step)
    except StackError as error:
        console.print(f"The page cannot write rows: {error}", markup=False)
        return None


async def _mini_app(stack: LocalStack) -> AsyncClient:
    """The client that a Mini App creates: with the public key and its user's signed initData."""
    environment = stack.env()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stack.url}/_sign", json={"user": USER}) as response,
    ):
        init_data = (await response.json())["init_data"]
    return await acreate_client(
        environment["SUPABASE_URL"],
        environment["SUPABASE_ANON_KEY"],
        options=AsyncClientOptions(headers={"x-telegram-init-data": init_data}),
    )


async def _write(mini_app: AsyncClient, every: float, count: int | None) -> None:
    for number, sample in enumerate(samples(datetime.now(UTC)), start=1):
        await mini_app.table("tma_events").insert(sample, returning=ReturnMethod.minimal).execute()
        if number == count:
            return
        await asyncio.sleep(every if number >= 5 else 1.0)  # noqa: PLR2004 - one of each first


@asynccontextmanager
async def _bridge(
    bridge: BridgeProgram, environment: Mapping[str, str], console: Console
) -> AsyncIterator[None]:
    """Run the bridge as a user would, in a process that does not outlive us."""
    folder = Path(tempfile.mkdtemp(prefix="tma-sandbox-demo-"))
    log = folder / "bridge.log"
    # A Program runs in the root directory, so the bridge does not read a .env of the caller.
    process = Program(bridge.command, log=log, env=environment, owned=folder)
    try:
        await _started(process, log, bridge.ready)
        yield
    finally:
        await asyncio.to_thread(process.stop, timeout=STOP_SECONDS)
        if process.code:
            console.print(_text(log), markup=False)
        shutil.rmtree(folder, ignore_errors=True)


async def _started(process: Program, log: Path, ready: str) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while ready not in _text(log):
                if not process.running:
                    raise StackError("the bridge exited; its log is above")
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise StackError(f"the bridge was not ready after {START_SECONDS:.0f} s") from error


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


async def _watch(timelines: Timelines, screen: Screen, count: int | None) -> int:
    """Show the rows until `count` of them have ended, in whatever way; return the delivered."""
    while True:
        shown, totals = await timelines.latest(SHOWN), await timelines.totals()
        screen.show(shown, totals)
        ended = sum(totals.values()) - totals.get("pending", 0) - totals.get("processing", 0)
        if count and ended >= count:
            return totals.get("delivered", 0)
        await asyncio.sleep(LOOK_SECONDS)
