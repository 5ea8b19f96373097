"""`realtime-bridge demo`: the whole thing on one screen.

The embedded stack, the bridge as a process of its own, and a simulated Mini App: the real
supabase client with the anon key and a signed initData header. The screen shows each row's way
through the states, by the database's clock, and the text as the user reads it.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, count, cycle
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from postgrest.types import ReturnMethod
from psycopg.rows import dict_row
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from realtime_bridge.local.stack import LocalStack

USER = {"id": 700_100_200, "first_name": "Олена", "language_code": "en"}
LEADS = ("Ann_Marie <Smith>", "Olena & Sons", "Żaneta *VIP*", "Bob [the builder] 🚀")
SHOWN = 8
LOOK_SECONDS = 0.1
START_SECONDS = 60.0
STOP_SECONDS = 8.0

LOOK = """
select id, event_type, status, attempt, created_at,
    extract(epoch from claimed_at - created_at) * 1000 as claimed_ms,
    extract(epoch from send_started_at - created_at) * 1000 as sending_ms,
    extract(epoch from delivered_at - created_at) * 1000 as delivered_ms,
    extract(epoch from created_at) as inserted, message_id, failure
from public.tma_events order by id desc limit %s
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One event's way so far; times in milliseconds since its insert, None where not there yet."""

    id: int
    event_type: str
    status: str
    inserted: float  # unix seconds
    claimed_ms: float | None
    sent_ms: float | None
    delivered_ms: float | None
    text: str


def samples(today: datetime) -> Iterator[dict[str, Any]]:
    """Yield what a Mini App writes: one event of each type first, then a mix for ever."""
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
    rest = (random.choice(kinds) for _ in count())  # noqa: S311 - a demo's variety
    for number, kind in enumerate(chain(kinds, rest), start=1):
        payload = {**kind["payload"], "lead_name": next(lead)}
        yield {**kind, "payload": payload, "lead_id": number, "dedupe_key": f"demo-{number}"}


async def run_demo(*, port: int, every: float, count: int | None) -> int:
    """Run the demo until Ctrl-C, or until `count` events are delivered; return the exit code."""
    console = Console()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopping.set)
    work = asyncio.create_task(_demo(console, port=port, every=every, count=count))
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


async def _demo(console: Console, *, port: int, every: float, count: int | None) -> int:
    console.print("Starting Postgres, PostgREST, Realtime and a Bot API on this machine ...")
    async with LocalStack(port=port) as stack, _bridge(stack, console):
        mini_app = await _mini_app(stack)
        console.print(
            f"The bridge runs. A Mini App user (chat {USER['id']}) now writes rows "
            "with the anon key. Ctrl-C stops.\n"
        )
        screen = _Screen(console)
        writing = asyncio.create_task(_write(mini_app, every, count))
        try:
            with screen:
                await _watch(stack, screen, count)
        finally:
            writing.cancel()
    console.print(f"{count} events delivered; nothing is left running.")
    return 0


async def _mini_app(stack: LocalStack) -> AsyncClient:
    """The client that a Mini App creates: the public key, and Telegram's signature of its user."""
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
async def _bridge(stack: LocalStack, console: Console) -> AsyncIterator[None]:
    """`realtime-bridge run` as a user would start it, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "bridge.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "realtime_bridge",
                "run",
                env={**os.environ, **stack.env(), "HTTP_PORT": "0", "LOG_FORMAT": "json"},
                cwd=folder,  # a .env of the caller is not the demo's
                stdout=output,
                stderr=output,
            )
            try:
                await _started(process, log)
                yield
            finally:
                await _end(process)
                if process.returncode:
                    console.print(_text(log), markup=False)


async def _started(process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while '"doorbell_ready"' not in _text(log):
            if process.returncode is not None:
                raise RuntimeError("the bridge ended by itself; its log is below")
            await asyncio.sleep(LOOK_SECONDS)


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _watch(stack: LocalStack, screen: "_Screen", count: int | None) -> None:
    """Look at the table and at what Telegram accepted, until `count` rows are delivered."""
    database = stack.env()["DATABASE_URL"]
    async with (
        await psycopg.AsyncConnection.connect(
            database, autocommit=True, row_factory=dict_row
        ) as connection,
        aiohttp.ClientSession() as session,
    ):
        while True:
            rows = await (await connection.execute(LOOK, (SHOWN,))).fetchall()
            async with session.get(f"{stack.url}/_sent") as response:
                sent = {message["message_id"]: message for message in await response.json()}
            shown = [_row(row, sent) for row in reversed(rows)]
            screen.show(shown)
            if count and rows and rows[0]["id"] >= count and _all_delivered(shown):
                return
            await asyncio.sleep(LOOK_SECONDS)


def _all_delivered(rows: list[Row]) -> bool:
    return all(row.status == "delivered" for row in rows)


def _row(row: dict[str, Any], sent: dict[int, dict[str, Any]]) -> Row:
    message = sent.get(row["message_id"])
    inserted = float(row["inserted"])
    return Row(
        id=row["id"],
        event_type=row["event_type"],
        status=row["status"],
        inserted=inserted,
        claimed_ms=_number(row["claimed_ms"]),
        sent_ms=(message["received_at"] - inserted) * 1000 if message else None,
        delivered_ms=_number(row["delivered_ms"]),
        text=message["text"] if message else row["failure"] or "",
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


class _Screen:
    """A table that is redrawn on a terminal; elsewhere one line for each delivered row."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._told: set[int] = set()

    def __enter__(self) -> None:
        if self._live:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, rows: list[Row]) -> None:
        """Show the latest rows, oldest first."""
        if self._live:
            self._live.update(_table(rows), refresh=True)
            return
        for row in rows:
            if row.status in {"delivered", "failed"} and row.id not in self._told:
                self._told.add(row.id)
                self._console.print(_line(row), markup=False, highlight=False, soft_wrap=True)


def _line(row: Row) -> str:
    way = f"inserted {_time(row)} -> claimed {_ms(row.claimed_ms)} -> sent {_ms(row.sent_ms)}"
    text = row.text.replace("\n", "\n    ")
    return f"#{row.id} {row.event_type}: {way} -> {row.status} {_ms(row.delivered_ms)}\n    {text}"


def _time(row: Row) -> str:
    return datetime.fromtimestamp(row.inserted).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _ms(value: float | None) -> str:
    return "..." if value is None else f"+{value:.0f} ms"


def _table(rows: list[Row]) -> Table:
    table = Table(title="What becomes of each row (milliseconds after its insert)", expand=True)
    table.add_column("id", justify="right")
    table.add_column("event")
    table.add_column("inserted")
    for name in ("claimed", "sent", "delivered"):
        table.add_column(name, justify="right")
    table.add_column("what the user reads", ratio=1)
    for row in rows:
        style = {"delivered": "green", "failed": "red"}.get(row.status, "yellow")
        table.add_row(
            str(row.id),
            row.event_type,
            _time(row),
            *(_ms(value) for value in (row.claimed_ms, row.sent_ms, row.delivered_ms)),
            Text(row.text),
            style=style,
        )
    return table
