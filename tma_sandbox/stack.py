"""The stack: Postgres, PostgREST, Realtime and a Bot API behind one address."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web

from tma_sandbox.botapi import BotApi, Rates
from tma_sandbox.gateway import Gateway, bind
from tma_sandbox.jwks import NO_KEYS, SigningKeys
from tma_sandbox.keys import Keys
from tma_sandbox.migrations import apply
from tma_sandbox.npm import find_postgrest
from tma_sandbox.postgres import ADMIN, Postgres
from tma_sandbox.postgrest import PostgREST
from tma_sandbox.realtime import Delays, Limits, LocalRealtime
from tma_sandbox.restriction import restrict_realtime

T = TypeVar("T")

# The names that `LocalStack.env` gives values to.
SETTINGS = {
    "SUPABASE_URL",
    "SUPABASE_KEY",
    "SUPABASE_ANON_KEY",
    "SUPABASE_SECRET_KEY",
    "SUPABASE_PUBLISHABLE_KEY",
    "SUPABASE_JWT_SECRET",
    "DATABASE_URL",
    "BOT_TOKEN",
    "TELEGRAM_API_URL",
}


class LocalStack:
    """Runs all parts while the context lasts, or between `start` and `stop`.

    When the context is entered, the schema is migrated and a Realtime subscriber gets its changes.
    The parts (`postgres`, `postgrest`, `realtime`, `bot_api`, `gateway`) can then be stopped and
    started one by one.
    """

    postgres: Postgres
    postgrest: PostgREST
    realtime: LocalRealtime
    bot_api: BotApi
    gateway: Gateway
    keys: Keys

    def __init__(
        self,
        port: int = 0,
        *,
        changes_poll: tuple[float, float] = (0.1, 0.5),
        data_dir: Path | None = None,
        migrations: Path | None = None,
        signing_keys: Path | None = None,
        restricted_realtime: bool = False,
        rates: Rates | None = None,
        delays: Delays | None = None,
        limits: Limits | None = None,
        routes: Iterable[web.AbstractRouteDef] = (),
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`port` 0 takes any free one. `changes_poll` is the `poll` of LocalRealtime.

        `data_dir` keeps database and keys. `migrations` is a project's migrations folder; without
        it the database is that of a new project. `signing_keys` is a file like the CLI's
        `auth.signing_keys_path`: tokens signed with these keys are valid as well.
        `restricted_realtime` reproduces the images in which the role postgres cannot grant on
        `realtime.messages`. `rates` makes the Bot API enforce Telegram's limits. `delays` and
        `limits` are Realtime's; by default a real server's, without its cold start. `routes` are
        served as well. `progress` is called with a text for each step of the start.
        """
        self.port = port
        self._changes_poll = changes_poll
        self._data_dir = data_dir.expanduser().resolve() if data_dir else None
        self._migrations = migrations
        self._signing_keys = signing_keys
        self._restricted_realtime = restricted_realtime
        self._rates = rates
        self._delays = delays or Delays(cold=(0.0, 0.0))
        self._limits = limits
        self._routes = routes
        self._progress = progress
        self._cleanup = AsyncExitStack()

    @property
    def url(self) -> str:
        """The address of everything."""
        return f"http://127.0.0.1:{self.port}"

    def env(self) -> dict[str, str]:
        """The settings that a server and a Mini App need, by name."""
        return {
            "SUPABASE_URL": self.url,
            "SUPABASE_KEY": self.keys.api_key("service_role"),
            "SUPABASE_ANON_KEY": self.keys.api_key("anon"),
            "SUPABASE_SECRET_KEY": self.keys.secret_key,
            "SUPABASE_PUBLISHABLE_KEY": self.keys.publishable_key,
            "SUPABASE_JWT_SECRET": self.keys.jwt_secret,
            "DATABASE_URL": self.postgres.dsn(),
            "BOT_TOKEN": self.keys.bot_token,
            "TELEGRAM_API_URL": self.url,
        }

    async def start(self) -> None:
        """Start everything. If a part fails, raises StackError and leaves nothing behind."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything, in reverse order. Does nothing if nothing is running."""
        await asyncio.shield(self._cleanup.aclose())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        bound = bind(self.port)  # first, because a port in use is the most likely failure
        self._cleanup.callback(bound.close)
        self.port = bound.getsockname()[1]
        signing = SigningKeys.read(self._signing_keys) if self._signing_keys else NO_KEYS
        await self._start_postgres()
        kept = self._data_dir / "keys.json" if self._data_dir else None
        self.keys = Keys.kept_in(kept, signing) if kept else Keys(signing=signing)
        self.bot_api = BotApi(bot_token=self.keys.bot_token, rates=self._rates)
        await self._start_servers()
        self.gateway = Gateway(
            rest_url=self.postgrest.url,
            keys=self.keys,
            realtime=self.realtime,
            bot_api=self.bot_api,
            routes=self._routes,
        )
        self._cleanup.push_async_callback(self.gateway.stop)
        await self.gateway.start(bound)

    async def _start_postgres(self) -> None:
        """Start and migrate the database; meanwhile find PostgREST, which may be a download."""
        self._progress("Starting PostgreSQL")
        self.postgres = Postgres(data_dir=self._data_dir)
        self._cleanup.push_async_callback(asyncio.to_thread, self.postgres.stop)
        await _finish_all(
            _in_thread(self.postgres.start, give_up=self.postgres.abandon),
            _in_thread(find_postgrest, self._progress),
        )
        await asyncio.to_thread(
            restrict_realtime, self.postgres.dsn(user=ADMIN), restricted=self._restricted_realtime
        )
        if self._migrations is not None:
            self._progress("Applying migrations")
            await _in_thread(apply, self.postgres.dsn(), self._migrations)

    async def _start_servers(self) -> None:
        self._progress("Starting PostgREST and Realtime")
        secret, signing = self.keys.jwt_secret, self.keys.signing
        self.postgrest = PostgREST(
            dsn=self.postgres.dsn(user="authenticator"), jwt_secret=signing.for_postgrest(secret)
        )
        self.realtime = LocalRealtime(
            dsn=self.postgres.dsn(user=ADMIN),
            jwt_secret=secret,
            signing=signing,
            poll=self._changes_poll,
            delays=self._delays,
            limits=self._limits,
        )
        self._cleanup.push_async_callback(self.postgrest.stop)
        self._cleanup.push_async_callback(self.realtime.stop)
        await _finish_all(self.postgrest.start(), self.realtime.start())


async def _finish_all(*parts: Awaitable[Any]) -> None:
    """Wait for all of them, even if one fails: a part that is still starting cannot be stopped."""
    results = await asyncio.gather(*parts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _in_thread(
    work: Callable[..., T], *arguments: Any, give_up: Callable[[], None] = lambda: None
) -> T:
    """Do blocking work in a thread; if cancelled, wait for it to end all the same.

    `give_up` is called in that case, to end the work sooner.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        give_up()
        await asyncio.gather(task, return_exceptions=True)
        raise
