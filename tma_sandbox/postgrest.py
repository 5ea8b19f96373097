"""The real PostgREST, configured as Supabase configures it."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import aiohttp

from tma_sandbox.errors import StackError
from tma_sandbox.npm import find_postgrest
from tma_sandbox.process import Program, free_port

_START_SECONDS = 30.0


class PostgREST:
    """One PostgREST process on a free port of 127.0.0.1, serving the schema `public`."""

    def __init__(
        self, *, dsn: str, jwt_secret: str, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        """`dsn` connects as the role authenticator. `jwt_secret`: a secret, or a JWKS as JSON."""
        self._dsn = dsn
        self._jwt_secret = jwt_secret
        self._progress = progress
        self._ports: tuple[int, int] | None = None
        self._home: Path | None = None
        self._program: Program | None = None

    @property
    def url(self) -> str:
        """Its address, without a path."""
        if self._ports is None:
            raise StackError("PostgREST has not been started")
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def pid(self) -> int:
        """The process id."""
        if self._program is None:
            raise StackError("PostgREST is not running")
        return self._program.pid

    async def start(self) -> None:
        """Start it and wait until the schema is loaded. Raises StackError.

        After `stop` it comes back on the same port.
        """
        binary = await asyncio.to_thread(find_postgrest, self._progress)
        attempts = 1 if self._ports else 5  # a free port may be taken before it is used
        for attempt in range(1, attempts + 1):
            ports = self._ports or (free_port(), free_port())
            self._home = Path(tempfile.mkdtemp(prefix="tma-sandbox-rest-"))
            self._program = Program(
                [binary], log=self._home / "log", env=self._settings(ports), owned=self._home
            )
            try:
                if await self._ready(ports[1]):
                    self._ports = ports
                    return
                log = self._program.log_tail()
            except BaseException:
                await self.stop()
                raise
            await self.stop()
            if attempt == attempts:
                raise StackError(f"PostgREST did not start; the end of its log:\n{log}")

    async def stop(self) -> None:
        """Stop it. Does nothing if it is not running."""
        program, self._program = self._program, None
        if program:
            await asyncio.to_thread(program.stop)
        if self._home:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    async def restart(self) -> None:
        """Stop and start on the same port."""
        await self.stop()
        await self.start()

    def _settings(self, ports: tuple[int, int]) -> dict[str, str]:
        return {
            "PGRST_DB_URI": self._dsn,
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public, extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_DB_POOL": "10",
            "PGRST_DB_CHANNEL_ENABLED": "true",
            "PGRST_JWT_SECRET": self._jwt_secret,
            "PGRST_LOG_LEVEL": "error",
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(ports[0]),
            "PGRST_ADMIN_SERVER_PORT": str(ports[1]),
        }

    async def _ready(self, admin_port: int) -> bool:
        """Wait until it is up; False if it ends or takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while self._program and self._program.running and loop.time() < deadline:
                try:
                    async with session.get(f"http://127.0.0.1:{admin_port}/ready") as answer:
                        if answer.ok:
                            return True
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(0.02)
        return False
