"""Before anything is sent: wait for the database and for Telegram, and tell one of the other."""

import asyncio
import importlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from realtime_bridge.base import delays
from realtime_bridge.credentials import web_app_key
from realtime_bridge.database import Refused, Rpc, Unavailable
from realtime_bridge.observe import ThrottledLog
from realtime_bridge.request_tables import RequestTable
from realtime_bridge.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from aiogram import Bot

log = structlog.get_logger()

T = TypeVar("T")

WAIT_CAP_SECONDS = 15.0


class StoppedEarly(Exception):  # noqa: N818 - not an error
    """A stop was requested during the start."""


class Startup:
    """The waits of a start; each ends when a stop is requested."""

    def __init__(self, settings: Settings, stopping: asyncio.Event) -> None:
        self.waiting_for: str | None = "start"
        self._settings = settings
        self._stopping = stopping
        self._said = ThrottledLog(log)

    async def database(self, rpc: Rpc, tables: Sequence[RequestTable]) -> None:
        """Wait until the database answers. Raises ConfigurationError when it refuses."""
        self.waiting_for = "Supabase"
        try:
            await self.unless_stopped(self._until_answered(rpc, "tma_event_stats"))
            for table in tables:
                counted = self._until_answered(rpc, "count_tma_requests", p_table=table.name)
                await self.unless_stopped(counted)
        except Refused as error:
            raise ConfigurationError([str(error)]) from error

    async def telegram(self, bot: "Bot") -> None:
        """Wait until Telegram answers. Raises ConfigurationError for an unknown token."""
        self.waiting_for = "Telegram"
        await self.unless_stopped(self._until_telegram_answers(bot))

    async def register(self, rpc: Rpc, bot: "Bot") -> None:
        """Let the database verify Mini App users: it gets a derived key, never the token."""
        derived = web_app_key(bot.token)
        registered = self._until_answered(rpc, "register_tma_bot", p_bot_id=bot.id, p_key=derived)
        try:
            await self.unless_stopped(registered)
        except Refused as error:
            effect = "new Mini App users are refused"
            log.error("bot_key_not_registered", error=str(error), effect=effect)
        self.waiting_for = None

    async def unless_stopped(self, work: Awaitable[T]) -> T:
        """Await something that may take long. Raises StoppedEarly when a stop comes first."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise StoppedEarly
        finally:
            for one in (task, stopping):
                one.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)

    async def _until_answered(self, rpc: Rpc, function: str, **arguments: Any) -> None:
        """Call until the database answers. Raises Refused."""
        for wait in delays(cap=WAIT_CAP_SECONDS):
            try:
                await rpc.call(function, arguments)
            except Unavailable as error:
                self._said.warning(
                    "waiting_for_supabase",
                    url=self._settings.supabase_url,
                    error=str(error),
                    next_try_in_s=round(wait, 1),
                    fix="check SUPABASE_URL and that the project is not paused",
                )
                await asyncio.sleep(wait)
            else:
                self._say_over("waiting_for_supabase", "supabase_answers")
                return

    async def _until_telegram_answers(self, bot: "Bot") -> None:
        from aiogram.exceptions import TelegramNotFound, TelegramUnauthorizedError

        for wait in delays(cap=WAIT_CAP_SECONDS):
            try:
                await bot.get_me()
            except (TelegramUnauthorizedError, TelegramNotFound) as error:
                raise ConfigurationError(
                    ["Telegram does not know BOT_TOKEN. Ask BotFather for the token: /mybots"]
                ) from error
            except Exception as error:  # noqa: BLE001 - aiogram's, and what a strange answer raises
                self._said.warning(
                    "waiting_for_telegram",
                    url=self._settings.telegram_api_url,
                    error=type(error.__cause__ or error).__name__,
                    next_try_in_s=round(wait, 1),
                    fix="check the network, and TELEGRAM_API_URL if you set it",
                )
                await asyncio.sleep(wait)
            else:
                self._say_over("waiting_for_telegram", "telegram_answers")
                return

    def _say_over(self, waiting: str, event: str) -> None:
        if total := self._said.over(waiting):
            log.info(event, lasted_s=round(total.seconds, 1), failed_calls=total.times)


def importing(module: str) -> asyncio.Future[Any]:
    """Import a module in a thread that a stop need not wait for, as an executor's would be."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def tell(report: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            report(value)

    def work() -> None:
        done: tuple[Callable[[Any], None], Any]
        try:
            done = (future.set_result, importlib.import_module(module))
        except Exception as error:  # noqa: BLE001 - it is raised where the future is awaited
            done = (future.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, *done)

    threading.Thread(target=work, name="import", daemon=True).start()
    return future
