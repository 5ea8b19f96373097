"""Lines to the database, to its gateway and to Telegram, as long as they are in reality."""

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks import certificates
from benchmarks.numbers import median
from benchmarks.queues import Queues
from benchmarks.stage import Stage
from tma_sandbox.postgres import ADMIN
from tma_sandbox.process import free_port

PLAIN, TLS = "TCP", "TLS"
_PINGS = 100
_PING = b"x" * 200


@dataclass
class Lines:
    """The near ends of all lines of one kind. `one_way`: measured milliseconds."""

    kind: str
    gateway: str
    telegram: str
    database: int
    authority: Path | None = None
    one_way: dict[str, float] = field(default_factory=dict)

    @property
    def floor(self) -> float:
        """No queue can beat it: the bell's way, a round trip to the database, the message's way."""
        return 3 * self.one_way["database"] + self.one_way["telegram"]

    def env(self, stage: Stage, queues: Queues) -> dict[str, str]:
        """The settings of the contenders."""
        far, near = f":{stage.postgres.port}/", f":{self.database}/"
        end = "?sslmode=require" if self.kind == TLS else ""
        urls = {name: url.replace(far, near) + end for name, url in queues.env().items()}
        trusted = {"SSL_CERT_FILE": str(self.authority)} if self.authority else {}
        return {
            **urls,
            **trusted,
            "SUPABASE_URL": self.gateway,
            "TELEGRAM_API_URL": self.telegram,
        }


async def lay(stage: Stage, kind: str, database_ms: float, telegram_ms: float) -> Lines:
    """Lay lines of one kind, each so many milliseconds long, and measure them."""
    ports = [free_port() for _ in range(5)]
    scheme = "https" if kind == TLS else "http"
    lines = Lines(
        kind, f"{scheme}://localhost:{ports[0]}", f"{scheme}://localhost:{ports[1]}", ports[2]
    )
    env = {}
    if kind == TLS:
        pem, lines.authority = stage.scratch("server.pem"), stage.scratch("authority.pem")
        certificates.make(lines.authority, pem)
        await _encrypt_database(stage, pem.read_text())
        env["PEM"] = str(pem)
    ends = (
        (_port(stage.nginx.gateway), database_ms),
        (_port(stage.exact_sink), telegram_ms),
        (f"{stage.postgres.port}-plain", database_ms),  # its protocol turns to TLS by itself
        ("echo", database_ms),
        ("echo", telegram_ms),
    )
    await stage.wires(
        *(f"{port}:{end}:{ms}" for port, (end, ms) in zip(ports, ends, strict=True)), **env
    )
    for name, port in (("database", ports[3]), ("telegram", ports[4])):
        lines.one_way[name] = await _one_way(port, lines.authority)
    return lines


def _port(url: str) -> str:
    return url.rpartition(":")[2]


async def _encrypt_database(stage: Stage, pem: str) -> None:
    """Let Postgres speak TLS. It writes the file itself, so that it may read it."""
    async with await psycopg.AsyncConnection.connect(
        stage.postgres.dsn(user=ADMIN), autocommit=True
    ) as connection:
        await connection.execute("create temporary table pem (line text)")
        await connection.execute(
            "insert into pem select unnest(string_to_array(%s, e'\\n'))", (pem.strip(),)
        )
        await connection.execute("copy pem to program 'umask 077; cat > server.pem'")
        await connection.execute("alter system set ssl_key_file = 'server.pem'")
        await connection.execute("alter system set ssl_cert_file = 'server.pem'")
        await connection.execute("alter system set ssl = on")
        await connection.execute("select pg_reload_conf()")


async def _one_way(port: int, authority: Path | None) -> float:
    """The median of half a round trip on an open connection."""
    context = ssl.create_default_context(cafile=authority) if authority else None
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    took = []
    for _ in range(_PINGS):
        begun = time.perf_counter()
        writer.write(_PING)
        await reader.readexactly(len(_PING))
        took.append((time.perf_counter() - begun) * 500)
    writer.close()
    return median(took)
