"""The embedded stack: what a bridge needs of Supabase and Telegram, on this machine."""

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
    """Postgres, PostgREST, Realtime and a Bot API behind one address, while the context lasts.

    On entering, everything serves: the schema is migrated and a Realtime subscriber would get
    its changes. The parts (`postgres`, `postgrest`, `realtime`, `bot_api`, `gateway`) may then
    be stopped and started one by one.
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
        """`port` 0 takes any free one. `changes_poll`: see LocalRealtime; a real server's default.

        `data_dir` keeps database and keys. `migrations` is the folder of a project's
        migrations; without it the database is as Supabase hands it out. `signing_keys` is a file
        as the CLI's `auth.signing_keys_path`: tokens signed with these keys are good too.
        `restricted_realtime` imitates the images whose `realtime.messages` the role postgres may
        not grant. `rates` makes the Bot API enforce Telegram's limits. `delays` are what Realtime
        waits on purpose; by default a real server's, but for the seconds in which it wakes for
        its first subscriber. `limits` are what it refuses to carry, by default a real server's.
        `routes` are served besides.
        `progress` is told in words what happens during the start.
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
        """The one address."""
        return f"http://127.0.0.1:{self.port}"

    def env(self) -> dict[str, str]:
        """The settings that `realtime-bridge run` and a Mini App need, by name."""
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
        """Start everything. Raises StackError, and leaves nothing behind, when a part fails."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything, in reverse. Harmless when nothing runs."""
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
        bound = bind(self.port)  # first, because a taken port is the likeliest trouble
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
        """The database, migrated; meanwhile PostgREST is looked for, which may take a download."""
        self._progress("Starting PostgreSQL")
        self.postgres = Postgres(data_dir=self._data_dir)
        self._cleanup.push_async_callback(asyncio.to_thread, self.postgres.stop)
        await _all(
            _whole(self.postgres.start, give_up=self.postgres.abandon),
            _whole(find_postgrest, self._progress),
        )
        await asyncio.to_thread(
            restrict_realtime, self.postgres.dsn(user=ADMIN), restricted=self._restricted_realtime
        )
        if self._migrations is not None:
            self._progress("Applying migrations")
            await _whole(apply, self.postgres.dsn(), self._migrations)

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
        await _all(self.postgrest.start(), self.realtime.start())


async def _all(*parts: Awaitable[Any]) -> None:
    """Wait for all of them, also when one fails: what is half started cannot be stopped."""
    results = await asyncio.gather(*parts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _whole(
    work: Callable[..., T], *arguments: Any, give_up: Callable[[], None] = lambda: None
) -> T:
    """Do blocking work in a thread, and see it through even when cancelled meanwhile.

    `give_up` is then called, so that the work may end sooner.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        give_up()
        await asyncio.gather(task, return_exceptions=True)
        raise
