"""The start: waits for the database and Telegram, and registers the bot with the database."""

import asyncio
from collections.abc import Awaitable, Sequence
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


class StoppedEarly(Exception):  # noqa: N818 - no error
    """A stop was requested during the start."""


class Startup:
    """The steps of a start. Each raises StoppedEarly when a stop is requested."""

    def __init__(self, settings: Settings, stopping: asyncio.Event) -> None:
        self.waiting_for: str | None = "start"
        self._settings = settings
        self._stopping = stopping
        self._log = ThrottledLog(log)

    async def database(self, rpc: Rpc, tables: Sequence[RequestTable]) -> None:
        """Wait until the database answers. Raises ConfigurationError if it refuses."""
        self.waiting_for = "Supabase"
        try:
            await self.unless_stopped(self._until_answered(rpc, "tma_event_stats"))
            for table in tables:
                counted = self._until_answered(rpc, "count_tma_requests", p_table=table.name)
                await self.unless_stopped(counted)
        except Refused as error:
            raise ConfigurationError([str(error)]) from error

    async def telegram(self, bot: "Bot") -> None:
        """Wait until Telegram answers. Raises ConfigurationError if it does not know the token."""
        self.waiting_for = "Telegram"
        await self.unless_stopped(self._until_telegram_answers(bot))

    async def register(self, rpc: Rpc, bot: "Bot") -> None:
        """Let the database verify Mini App users. It gets a derived key, never the token."""
        derived = web_app_key(bot.token)
        registered = self._until_answered(rpc, "register_tma_bot", p_bot_id=bot.id, p_key=derived)
        try:
            await self.unless_stopped(registered)
        except Refused as error:
            effect = "new Mini App users are refused"
            log.error("bot_key_not_registered", error=str(error), effect=effect)
        self.waiting_for = None

    async def unless_stopped(self, work: Awaitable[T]) -> T:
        """Await something slow. Raises StoppedEarly if a stop is requested first."""
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
        """Call a function until the database answers. Raises Refused."""
        for wait in delays(cap=WAIT_CAP_SECONDS):
            try:
                await rpc.call(function, arguments)
            except Unavailable as error:
                self._log.warning(
                    "waiting_for_supabase",
                    url=self._settings.supabase_url,
                    error=str(error),
                    next_try_in_s=round(wait, 1),
                    fix="check SUPABASE_URL and that the project is not paused",
                )
                await asyncio.sleep(wait)
            else:
                self._log_end_of("waiting_for_supabase", "supabase_answers")
                return

    async def _until_telegram_answers(self, bot: "Bot") -> None:
        from aiogram.exceptions import TelegramNotFound, TelegramUnauthorizedError

        for wait in delays(cap=WAIT_CAP_SECONDS):
            try:
                await bot.get_me()
            except (TelegramUnauthorizedError, TelegramNotFound) as error:
                raise ConfigurationError(
                    ["Telegram does not know BOT_TOKEN. Get the token from BotFather: /mybots"]
                ) from error
            except Exception as error:  # noqa: BLE001 - aiogram's, and whatever a broken response raises
                self._log.warning(
                    "waiting_for_telegram",
                    url=self._settings.telegram_api_url,
                    error=type(error.__cause__ or error).__name__,
                    next_try_in_s=round(wait, 1),
                    fix="check the network, and TELEGRAM_API_URL if you set it",
                )
                await asyncio.sleep(wait)
            else:
                self._log_end_of("waiting_for_telegram", "telegram_answers")
                return

    def _log_end_of(self, waiting: str, event: str) -> None:
        if total := self._log.over(waiting):
            log.info(event, lasted_s=round(total.seconds, 1), failed_calls=total.times)
