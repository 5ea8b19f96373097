"""What every part needs: a database, PostgREST behind nginx, Realtime, and sinks for messages."""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from benchmarks import usage
from benchmarks.nginx import Nginx
from realtime_bridge.database import migrations_directory
from tma_sandbox import migrations
from tma_sandbox.keys import Keys
from tma_sandbox.postgres import ADMIN, Postgres
from tma_sandbox.postgrest import PostgREST
from tma_sandbox.process import Program, free_port

T = TypeVar("T")
PATIENCE = 180.0
ROOT = Path(__file__).parents[1]


async def until(condition: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T:
    """Wait until an async condition is truthy; return its value. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.05)
        return value


class Child:
    """A Python module in its own process, which does not outlive ours."""

    def __init__(self, module: str, *arguments: str, env: Mapping[str, str], home: Path) -> None:
        self._log = home / f"{module}-{time.monotonic_ns()}.log"
        self._program = Program(
            [sys.executable, "-m", module, *arguments],
            log=self._log,
            env={**env, "PYTHONPATH": str(ROOT)},
        )
        self.pid = self._program.pid

    def output(self) -> str:
        """Its output so far."""
        return self._log.read_text(errors="replace")

    async def says(self, word: str) -> None:
        """Wait until it has printed this word. Raises RuntimeError if it ends before."""

        async def said() -> bool:
            if not self._program.running:
                raise RuntimeError(f"ended too early:\n{self.output()[-3000:]}")
            return word in self.output()

        await until(said)

    async def stop(self) -> None:
        """Send SIGTERM, then kill it if necessary."""
        await asyncio.to_thread(self._program.stop, signal.SIGTERM, 15)


class Stage:
    """Everything except the contender, while the context lasts.

    `nginx` is Supabase's address and a fast Bot API; `exact_sink` is the address of a Bot API that
    records arrivals by chat.
    """

    postgres: Postgres
    postgrest: PostgREST
    nginx: Nginx

    def __init__(self) -> None:
        self.keys = Keys()
        self.exact_sink = ""
        self._cleanup = AsyncExitStack()
        self._home = Path()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._cleanup.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._cleanup.aclose()

    async def _start(self) -> None:
        self._home = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory("-bench")))
        self.postgres = Postgres()
        self._cleanup.callback(self.postgres.stop)
        await asyncio.to_thread(self.postgres.start)
        await asyncio.to_thread(migrations.apply, self.postgres.dsn(), migrations_directory())
        self.postgrest = PostgREST(
            dsn=self.postgres.dsn(user="authenticator"), jwt_secret=self.keys.jwt_secret
        )
        self._cleanup.push_async_callback(self.postgrest.stop)
        await self.postgrest.start()
        realtime_port, sink_port = free_port(), free_port()
        self.nginx = Nginx(
            rest_port=int(self.postgrest.url.rpartition(":")[2]), realtime_port=realtime_port
        )
        self._cleanup.callback(self.nginx.stop)
        await self.nginx.ready()
        realtime = self._child(
            "benchmarks.realtime_server",
            str(realtime_port),
            DATABASE_URL=self.postgres.dsn(user=ADMIN),
            JWT_SECRET=self.keys.jwt_secret,
        )
        sink = self._child("benchmarks.sink", str(sink_port))
        await realtime.says("ready")
        await sink.says("ready")
        self.exact_sink = f"http://127.0.0.1:{sink_port}"

    def _child(self, module: str, *arguments: str, **env: str) -> Child:
        child = Child(module, *arguments, env=env, home=self._home)
        self._cleanup.push_async_callback(child.stop)
        return child

    def settings(self) -> dict[str, str]:
        """The settings of all contenders."""
        return {
            "SUPABASE_URL": self.nginx.gateway,
            "SUPABASE_KEY": self.keys.api_key("service_role"),
            "BOT_TOKEN": self.keys.bot_token,
            "TELEGRAM_API_URL": self.nginx.sink,
            "HTTP_PORT": "0",
            "PLANNER": "off",
        }

    @asynccontextmanager
    async def worker(self, module: str, **env: str) -> AsyncIterator[Child]:
        """Run a contender, with `env` added to the settings of all contenders."""
        told = {**self.settings(), **env}
        child = Child(f"benchmarks.workers.{module}", env=told, home=self._home)
        try:
            yield child
        finally:
            await child.stop()

    async def limited_sink(self) -> str:
        """Start a Bot API that keeps Telegram's limits; return its address."""
        port = free_port()
        await self._child("benchmarks.sink", str(port), "limited").says("ready")
        return f"http://127.0.0.1:{port}"

    async def wires(self, *specs: str, **env: str) -> None:
        """Lay long lines (see benchmarks/wire.py)."""
        await self._child("benchmarks.wire", *specs, **env).says("ready")

    async def arrivals(self, sink: str = "") -> list[tuple[float, int, int]]:
        """Arrivals at the exact sink, or another, since the last call: (when, chat, number)."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{sink or self.exact_sink}/_arrivals") as answer,
        ):
            return [(at, chat, number) for at, chat, number in await answer.json()]

    def scratch(self, name: str) -> Path:
        """The path of a file that exists as long as the stage."""
        return self._home / name

    def meter(self, **more: int) -> usage.Meter:
        """Measure CPU seconds from now on: of the database, PostgREST, nginx, and `more`."""
        return usage.Meter.start(
            postgres=self.postgres.pid,
            postgrest=self.postgrest.pid,
            nginx=self.nginx.pid,
            **more,
        )


def lsn_bytes(text: Any) -> int:
    """A WAL position as a number of bytes."""
    high, _, low = str(text).partition("/")
    return (int(high, 16) << 32) + int(low, 16)
