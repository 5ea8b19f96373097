"""One run: a stack, three replicas, a stream of events, and everything that can go wrong."""

import asyncio
import json
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from realtime_bridge.database import migrations_directory
from tests.chaos.report import Report
from tests.chaos.schedule import Kind, Mishap, schedule
from tests.chaos.stream import (
    INSERT,
    MUTE,
    ROWS,
    WITHDRAW,
    numbers_in,
    tellings,
    withdrawn_after,
    write_templates,
)
from tests.delivery.fork_server import ForkServer, Replica
from tests.delivery.proxy import Connection, Proxy, Trouble
from tests.sql.signing import init_data
from tma_sandbox.realtime import Delays
from tma_sandbox.stack import LocalStack

REPLICAS = 3
# New events wait while so many are open, or most would be sent when the mishaps are over.
MOST_OPEN = 500
SETTLE_SECONDS = 300.0
# Telegram is far away: at any time some messages have arrived and nobody here knows.
LATENCY = 0.3
# How long after a blow to a process what it had asked the database for may still be committed.
ECHO_SECONDS = 1.0
# How long a replica that is told to stop may take for what it has in hand.
GRACE = 4.0


@dataclass(frozen=True)
class Plan:
    """How much, how fast, and how bad. `rate`: events per second; `pace`: seconds per mishap."""

    mode: str
    seed: int
    events: int = 10_000
    chats: int = 200
    rate: float = 60.0
    pace: float = 1.0
    send_timeout: float = 3.0
    lease: float = 11.0

    def environment(
        self, stack: LocalStack, supabase: Proxy, telegram: Proxy, templates: Path
    ) -> dict[str, str]:
        """What a replica gets."""
        return {
            **stack.env(),
            "SUPABASE_URL": supabase.url,
            "TELEGRAM_API_URL": telegram.url,
            "TEMPLATES_DIR": str(templates),
            "DELIVERY": self.mode,
            "SEND_TIMEOUT": str(self.send_timeout),
            "LEASE_SECONDS": str(self.lease),
            "STOP_GRACE": str(GRACE),
            "SWEEP_INTERVAL": "5",
            "FALLBACK_POLL_INTERVAL": "1",
            "MAX_ATTEMPTS": "100",
            "CONCURRENCY": "16",
            "TELEGRAM_RATE": "1000",
            "TELEGRAM_CHAT_RATE": "100",
            "TELEGRAM_CHAT_BURST": "20",
            "ALLOW_PAID_BROADCAST": "true",
            "HTTP_PORT": "0",
            "LOG_FORMAT": "json",
        }


class Run:
    """The parts while they run."""

    def __init__(
        self, plan: Plan, fork_server: ForkServer, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        """`progress` is told every few seconds how far it is."""
        self.plan = plan
        self._fork_server = fork_server
        self._progress = progress
        self._exposed: set[int] = set()
        self._withdrawals: dict[int, bool] = {}  # by the number of the event
        self._mishaps: Counter[str] = Counter()
        self._inserted = 0
        self._busy = {name: asyncio.Lock() for name in ("supabase", "telegram", "database", *"012")}

    async def __call__(self) -> Report:
        """Do all of it; at the end the replicas are killed."""
        started = time.monotonic()
        async with AsyncExitStack() as stack:
            self._templates = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_templates(self._templates)
            self._stack = await stack.enter_async_context(
                LocalStack(migrations=migrations_directory(), delays=Delays.none())
            )
            self._supabase = await stack.enter_async_context(Proxy(self._stack.port, _rows_asked))
            self._telegram = await stack.enter_async_context(
                Proxy(self._stack.port, numbers_in, latency=LATENCY)
            )
            self._replicas = [await self._new_replica() for _ in range(REPLICAS)]
            for replica in self._replicas:
                await replica.says("started", 60)
            showing = asyncio.create_task(self._show())
            stack.callback(showing.cancel)
            await self._live_through_it()
            await self._until_settled()
            for replica in self._replicas:
                await replica.kill()
            return await self._report(time.monotonic() - started)

    async def _new_replica(self) -> Replica:
        environment = self.plan.environment(
            self._stack, self._supabase, self._telegram, self._templates
        )
        return await self._fork_server.start(environment)

    async def _live_through_it(self) -> None:
        """Insert all events while mishaps happen; end when both are over."""
        inserting = asyncio.create_task(self._insert())
        under_way = []
        plan = self.plan
        for mishap in schedule(plan.seed, plan.lease, REPLICAS, plan.pace):
            await asyncio.wait([inserting], timeout=mishap.after)
            if inserting.done():
                break
            under_way.append(asyncio.create_task(self._suffer(mishap)))
        await asyncio.gather(inserting, *under_way)

    # Events

    async def _insert(self) -> None:
        batch = max(1, round(self.plan.rate / 10))
        await self._sql(MUTE, {"chats": self.plan.chats})
        async with asyncio.TaskGroup() as users:
            for first in range(1, self.plan.events + 1, batch):
                last = min(first + batch - 1, self.plan.events)
                await self._sql(INSERT, {"chats": self.plan.chats, "first": first, "last": last})
                self._inserted = last
                for number in range(first, last + 1):
                    if (seconds := withdrawn_after(number)) is not None:
                        users.create_task(self._withdraw(number, seconds))
                await asyncio.sleep(batch / self.plan.rate)
                while await self._open() > MOST_OPEN:
                    await asyncio.sleep(0.2)

    async def _withdraw(self, number: int, seconds: float) -> None:
        """As the Mini App of the user does it: again, until there is an answer."""
        await asyncio.sleep(seconds)
        key = str(number)
        (event,) = await self._sql(
            "select telegram_id from tma_events where dedupe_key = %s", [key]
        )
        proof = init_data({"id": event["telegram_id"]}, token=self._stack.keys.bot_token)
        headers = json.dumps({"x-telegram-init-data": proof})
        (answer,) = await self._sql(WITHDRAW, {"key": key, "headers": headers})
        self._withdrawals[number] = answer["done"] == "true"

    async def _until_settled(self) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline and await self._open():
            await asyncio.sleep(0.2)

    async def _open(self) -> int:
        rows = await self._sql("select count(*) from tma_events where settled_at is null")
        return int(rows[0]["count"])

    async def _sql(self, query: str, values: object = None) -> list[dict]:
        """Run a statement, again and again while there is no database; it must bear repeating."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._stack.postgres.dsn(), autocommit=True, row_factory=dict_row
                ) as database:
                    cursor = await database.execute(query, values)
                    return await cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                await asyncio.sleep(0.05)

    # Mishaps

    async def _suffer(self, mishap: Mishap) -> None:
        async with self._busy[_what_it_hits(mishap)]:
            self._mishaps[mishap.kind] += 1
            match mishap.kind:
                case Kind.KILL:
                    await self._kill(mishap)
                case Kind.REPLACE:
                    await self._replace(mishap)
                case Kind.FREEZE | Kind.NAP:
                    await self._freeze(mishap)
                case Kind.FREEZE_CLAIMED:
                    await self._claimed(mishap)
                    await self._freeze(mishap)
                case Kind.TELEGRAM_FLOOD:
                    self._stack.bot_api.script.add(
                        {"status": 429, "retry_after": 1, "times": 1 + int(5 * mishap.seconds)}
                    )
                case Kind.TELEGRAM_GONE:
                    await self._gone(self._telegram, mishap)
                case Kind.DATABASE_GONE:
                    await self._gone(self._supabase, mishap)
                case kind if kind in TELEGRAM:
                    with self._telegram.broken(TELEGRAM[kind]):
                        await asyncio.sleep(mishap.seconds)
                case kind if kind in DATABASE:
                    with self._supabase.broken(*DATABASE[kind]):
                        await asyncio.sleep(mishap.seconds)
                case _:
                    await self._restart(mishap)

    async def _kill(self, mishap: Mishap) -> None:
        await self._replicas[mishap.replica].kill()
        await self._expose()
        await asyncio.sleep(mishap.seconds)
        self._replicas[mishap.replica] = await self._new_replica()

    async def _replace(self, mishap: Mishap) -> None:
        """As a deployment does it: for a moment both work, and the old one is told to stop."""
        old, new = self._replicas[mishap.replica], await self._new_replica()
        await new.says("started", 60)
        await asyncio.sleep(mishap.seconds)
        told = time.monotonic()
        await old.stop()
        self._replicas[mishap.replica] = new
        if time.monotonic() - told >= GRACE:  # it cut off what it could not end
            await self._expose()

    async def _claimed(self, mishap: Mishap) -> None:
        """Stop a replica once it has claimed, when the answer is on its way to it."""
        replica, stopped = self._replicas[mishap.replica], asyncio.Event()

        def look(connection: Connection, answer: bytes) -> None:
            claimed = CLAIM in connection.asked and b'"attempt"' in answer
            if claimed and not stopped.is_set() and replica.calls_from(connection.client_port):
                replica.signal(signal.SIGSTOP)
                stopped.set()

        # It may be cut off from the database.
        with self._supabase.watched(look), suppress(TimeoutError):
            async with asyncio.timeout(self.plan.lease):
                await stopped.wait()

    async def _freeze(self, mishap: Mishap) -> None:
        replica = self._replicas[mishap.replica]
        replica.signal(signal.SIGSTOP)
        await self._expose()
        await asyncio.sleep(mishap.seconds)
        replica.signal(signal.SIGCONT)

    async def _gone(self, wire: Proxy, mishap: Mishap) -> None:
        await wire.refuse()
        # What the kernel had taken in for the listener is reset, and nobody knows what it was.
        await self._note(
            "select id from tma_events where send_started_at > now() - interval '1 second'"
        )
        await asyncio.sleep(mishap.seconds)
        await wire.serve()

    async def _restart(self, mishap: Mishap) -> None:
        await self._expose()
        match mishap.kind:
            case Kind.POSTGREST_RESTART:
                await self._stack.postgrest.restart()
            case Kind.POSTGRES_RESTART:
                await asyncio.to_thread(self._stack.postgres.restart, "fast")
            case Kind.POSTGRES_CRASH:
                await asyncio.to_thread(self._stack.postgres.restart, "immediate")
        await self._expose()

    async def _expose(self) -> None:
        """Note the rows that are past the fence, when what is under way has been committed."""
        await asyncio.sleep(ECHO_SECONDS)
        await self._note(
            "select id from tma_events where status = 'processing' and send_started_at is not null"
        )

    async def _note(self, query: str) -> None:
        self._exposed |= {row["id"] for row in await self._sql(query)}

    # The end

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(5)
            waiting = await self._open()
            self._progress(
                f"{self.plan.mode}: {self._inserted} of {self.plan.events} inserted, "
                f"{waiting} open, {self._mishaps.total()} mishaps"
            )

    async def _report(self, seconds: float) -> Report:
        rows = await self._sql(ROWS)
        ids = {int(row["dedupe_key"]): row["id"] for row in rows}
        return Report(
            self.plan.mode,
            rows,
            told=tellings(self._stack.bot_api.sent.after(0), ids),
            exposed=self._exposed
            | self._supabase.harmed
            | {ids[number] for number in self._telegram.harmed},
            withdrawals={ids[number]: done for number, done in self._withdrawals.items()},
            mishaps=self._mishaps,
            seconds=seconds,
        )


TELEGRAM = {
    Kind.TELEGRAM_REQUESTS: Trouble.LOST_REQUEST,
    Kind.TELEGRAM_ANSWERS: Trouble.LOST_ANSWER,
    Kind.TELEGRAM_SILENCE: Trouble.NO_ANSWER,
}
CLAIM = b"/rpc/claim_tma_events"
DATABASE = {
    Kind.DATABASE_REQUESTS: (Trouble.LOST_REQUEST, "/rest/"),
    Kind.DATABASE_ANSWERS: (Trouble.LOST_ANSWER, "/rest/"),
    Kind.CLAIM_ANSWERS: (Trouble.LOST_ANSWER, CLAIM.decode()),
    Kind.DATABASE_PAGES: (Trouble.PAGE, "/rest/"),
}


def _what_it_hits(mishap: Mishap) -> str:
    """One mishap at a time for each of these."""
    name = mishap.kind.name
    if name.startswith("POSTGR"):
        return "database"
    if name.startswith("TELEGRAM"):
        return "telegram"
    return "supabase" if mishap.kind in {*DATABASE, Kind.DATABASE_GONE} else str(mishap.replica)


def _rows_asked(request: bytes):
    """The rows that a call of start or settle is about."""
    return (int(id_) for id_ in re.findall(rb'"id": ?(\d+)', request))
