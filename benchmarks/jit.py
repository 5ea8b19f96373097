"""Part 8: what a claim and an event cost where Postgres compiles expensive queries (JIT)."""

import asyncio
import json
import time
from collections import defaultdict
from typing import Any

import psycopg

from benchmarks.growth import CLAIMED, PENDING
from benchmarks.latency import arrivals_of
from benchmarks.numbers import median, percentile, table, verdict
from benchmarks.queues import FIRST_CHAT, Queues
from benchmarks.sections import SECTIONS
from benchmarks.stage import Stage
from realtime_bridge.database import migrations_directory
from tma_sandbox import migrations
from tma_sandbox.postgres import ADMIN

QUICK: dict[str, Any] = {"samples": 30, "events": 10, "rounds": 1}
SETTINGS = ("on", "off")
EVERY_SECONDS = 0.1

Samples = dict[str, list[float]]


async def run(samples: int = 500, events: int = 50, rounds: int = 3) -> dict[str, Any]:
    """Claim one row and send events, with and without JIT in turns."""
    async with Stage() as stage, Queues(stage) as queues:
        version = await queues.events.value("select version() where pg_jit_available()")
        if version is None:
            text = (
                "This PostgreSQL cannot compile queries; name one that can (Debian's): "
                "TMA_SANDBOX_PG_BIN=/usr/lib/postgresql/15/bin"
            )
            return {"skipped": text}
        claims = await asyncio.to_thread(_claims, stage, samples)
        sent: Samples = defaultdict(list)
        for number in range(rounds):
            for at, jit in enumerate(SETTINGS):
                chat = FIRST_CHAT + (number * len(SETTINGS) + at) * events
                sent[jit] += await _events(stage, queues, jit, range(chat, chat + events))
    return {"version": version, "claims": claims, "events": sent}


def _claims(stage: Stage, samples: int) -> Samples:
    took: Samples = defaultdict(list)
    dsn = stage.postgres.create_database("jit")
    migrations.apply(dsn, migrations_directory())
    with (
        psycopg.connect(dsn, autocommit=True, options="-c jit=on") as on,
        psycopg.connect(dsn, autocommit=True, options="-c jit=off") as off,
    ):
        for number in range(samples):
            for connection, jit in ((on, "on"), (off, "off")):
                connection.execute(PENDING, (number, 1))
                took[jit].append(_claim(connection))
    return took


def _claim(connection: psycopg.Connection[Any]) -> float:
    begin = time.perf_counter()
    claimed = connection.execute(CLAIMED, (1,)).fetchall()
    took = (time.perf_counter() - begin) * 1000
    ends = [
        {"id": id_, "attempt": attempt, "status": "delivered", "message_id": 1}
        for id_, attempt in claimed
    ]
    connection.execute("select settle_tma_events(%s)", (json.dumps(ends),))
    return took


async def _events(stage: Stage, queues: Queues, jit: str, chats: range) -> list[float]:
    """Milliseconds from each commit to its request, on new connections of PostgREST."""
    admin = stage.postgres.dsn(user=ADMIN)
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"alter database postgres set jit = {jit}".encode())
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'authenticator'"
        )
    env = {"DOORBELL": "broadcast", "LIFTED": "1", "TELEGRAM_API_URL": stage.exact_sink}
    committed = {}
    async with stage.worker("bridge", **env) as bridge:
        await bridge.says("doorbell_ready")
        await asyncio.sleep(1)
        for chat in chats:
            await queues.events.add(chat, 0)
            committed[chat] = time.time()
            await asyncio.sleep(EVERY_SECONDS)
        arrived = await arrivals_of(stage, set(committed))
    return [(arrived[chat] - at) * 1000 for chat, at in committed.items()]


def report(result: dict[str, Any]) -> str:
    """The tables and the verdicts."""
    lines = [str(result["version"]), ""]
    for head, took in zip(
        SECTIONS["jit"].tables, (result["claims"], result["events"]), strict=True
    ):
        rows = [
            [f"jit = {jit}", f"{median(took[jit]):.2f}", f"{percentile(took[jit], 0.99):.2f}"]
            for jit in SETTINGS
        ]
        ratio = median(took["on"]) / median(took["off"])
        lines += [
            table(head, rows),
            "",
            verdict(f"p50 of {head[0]} with JIT, relative to none", ratio, 1.5, least=False),
            "",
        ]
    return "\n".join(lines)
