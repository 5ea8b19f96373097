"""The bridge as one object, for a process of its own or inside a bot."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import structlog

from realtime_bridge.database import Keys, Rpc, trial_of
from realtime_bridge.messages import load_messages
from realtime_bridge.observe import READY, STOPPING, Metrics, health_app, serve
from realtime_bridge.request_tables import RequestTable, load_request_tables
from realtime_bridge.settings import ConfigurationError, Settings
from realtime_bridge.startup import Startup, StoppedEarly
from realtime_bridge.wiring import Parts, Wiring

if TYPE_CHECKING:
    from aiogram import Bot

    from realtime_bridge.messages import Messages

log = structlog.get_logger()


class Bridge:
    """The whole bridge: run() it in a process of its own, or start() and stop() it inside a bot."""

    def __init__(
        self,
        settings: Settings,
        *,
        bot: "Bot | None" = None,
        messages: "Messages | None" = None,
        planner: Any = None,
        request_tables: Sequence[RequestTable] = (),
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Build nothing yet. A `bot` that is passed in stays the caller's: it is not closed.

        `messages` replaces the templates, `planner` replaces PLANNER; `request_tables` are
        answered in addition to REQUEST_TABLES. `notify` gets systemd's READY=1 and STOPPING=1.
        """
        self.settings = settings
        self.metrics = Metrics()
        self._bot = bot
        self._messages = messages
        self._planner = planner
        self._request_tables = request_tables
        self._notify = notify
        self._keys = Keys(settings, trial_of(settings))
        self._stopping = asyncio.Event()
        self._startup = Startup(settings, self._stopping)
        self._running: asyncio.Task[None] | None = None
        self._parts: Parts | None = None

    async def start(self) -> None:
        """Run in the background; for `dispatcher.startup.register(bridge.start)`."""
        self._running = asyncio.create_task(self.run(), name="realtime-bridge")
        self._running.add_done_callback(_log_crash)

    async def stop(self) -> None:
        """Stop cleanly and wait for it; for `dispatcher.shutdown.register(bridge.stop)`."""
        self.request_stop()
        if self._running is not None:
            await asyncio.wait([self._running])

    def request_stop(self) -> None:
        """Make run() stop: it claims nothing more and finishes what it has in hand."""
        self._stopping.set()

    def reload(self) -> None:
        """Read the keys again now, as `realtime-bridge run` does at SIGHUP.

        Key files (SUPABASE_KEY_FILE) are watched anyway. Callable from a signal handler.
        """
        self._keys.reload()

    async def run(self) -> None:
        """Run until a stop is requested.

        Raises ConfigurationError for what only a person can fix. It waits for what may come up
        later (PostgREST, Telegram).
        """
        settings = self.settings
        tables = load_request_tables(settings, planner=self._planner, more=self._request_tables)
        messages = self._messages or load_messages(settings)
        app = health_app(self.readiness, self.metrics.registry, self._refresh_metrics)
        try:
            async with AsyncExitStack() as stack:
                if settings.http_port:
                    serving = serve(app, settings.http_host, settings.http_port)
                    await stack.enter_async_context(serving)
                rpc = Rpc(
                    settings.supabase_url, self._keys.current, self._keys.replace, settings.redact
                )
                await stack.enter_async_context(rpc)
                await stack.enter_async_context(self._watch_keys())
                # Importing aiogram takes seconds: the database is asked meanwhile. The end of the
                # process waits for it: one that goes away under an import is aborted.
                telegram = asyncio.create_task(
                    asyncio.to_thread(import_module, "realtime_bridge.telegram")
                )
                stack.callback(telegram.cancel)
                await self._startup.database(rpc, tables)
                await self._startup.unless_stopped(telegram)
                bot = await stack.enter_async_context(self._open_bot())
                await self._startup.telegram(bot)
                await self._startup.register(rpc, bot)
                wiring = Wiring(settings, self.metrics, self._keys, rpc, tables)
                self._parts = wiring.build(bot, messages)
                log.info("started", delivery=settings.delivery.value, bot_id=bot.id)
                await self._work(self._parts)
        except StoppedEarly:
            pass
        log.info("stopped")

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether messages flow, and details; without a doorbell it is degraded, not unready."""
        parts, redact = self._parts, self.settings.redact
        waiting = self._startup.waiting_for
        problems = [waiting and f"waiting for {waiting}"]
        state: dict[str, Any] = {"degraded": False}
        if parts is not None:
            problems = [
                *(lane.problem for lane in parts.lanes),
                parts.sweeper.problem,
                *(lane.halted for lane in parts.lanes),
            ]
            status = parts.doorbell.status
            state["degraded"] = not status.healthy
            state["doorbell"] = {
                "changes": str(status.changes),
                "broadcast": str(status.broadcast),
                "last_error": status.last_error and redact.line(status.last_error),
            }
        state["reasons"] = list(dict.fromkeys(redact.line(one) for one in problems if one))
        return not state["reasons"], state

    async def _refresh_metrics(self) -> None:
        """Refresh the metrics that cost a query: only when they are scraped."""
        if self._parts is not None:
            await self._parts.backlog.refresh()

    async def _work(self, parts: Parts) -> None:
        """Run all parts until a stop is requested, and stop them in order."""
        # Not in the TaskGroup: a claim in flight must finish even if a sibling crashes, or its
        # rows would be stranded until their lease ends.
        pumping = [asyncio.create_task(lane.run(), name=lane.lane) for lane in parts.lanes]
        self._notify(READY)
        try:
            await _run_until(
                self._stopping,
                doorbell=parts.doorbell.run(),
                sweeper=parts.sweeper.run(),
                retention=parts.retention.run(),
                lanes=_first_end(pumping),
            )
        finally:
            await self._finish(parts, pumping)

    async def _finish(self, parts: Parts, pumping: Sequence[asyncio.Task[None]]) -> None:
        log.info("stopping", in_hand=sum(lane.in_hand for lane in parts.lanes))
        self._notify(STOPPING)
        for lane in parts.lanes:
            lane.stop()
        await asyncio.wait(pumping, timeout=self.settings.stop_grace)
        await asyncio.gather(*(lane.finish(self.settings.stop_grace) for lane in parts.lanes))
        for task in pumping:
            task.cancel()
        await asyncio.gather(*pumping, return_exceptions=True)
        parts.outage.close()

    @asynccontextmanager
    async def _watch_keys(self) -> AsyncIterator[None]:
        """Look for new keys while the context lasts."""
        self._keys.log_current()
        # Not in the TaskGroup: keys are watched before there are services to run.
        watching = asyncio.create_task(self._keys.run(), name="keys")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    @asynccontextmanager
    async def _open_bot(self) -> "AsyncIterator[Bot]":
        if self._bot is not None:
            yield self._bot
            return
        from realtime_bridge.telegram import own_bot

        async with own_bot(self.settings) as bot:
            yield bot


class _Stop(Exception):  # noqa: N818 - only this ends a TaskGroup
    pass


async def _run_until(stop: asyncio.Event, **services: Coroutine[Any, Any, Any]) -> None:
    """Run services until `stop`. If one of them raises or ends, all end and that is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for name, service in services.items():
                group.create_task(_never_ending(name, service), name=name)
            group.create_task(_raise_at(stop), name="stop")
    except* _Stop:
        pass
    except* Exception as crash:  # noqa: BLE001 - raised again
        raise crash.exceptions[0] from None


async def _raise_at(stop: asyncio.Event) -> NoReturn:
    await stop.wait()
    raise _Stop


async def _never_ending(name: str, service: Coroutine[Any, Any, Any]) -> NoReturn:
    await service
    raise RuntimeError(f"{name} ended by itself")


async def _first_end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until one of the tasks ends; raise what it raised, or that it ended."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
        raise RuntimeError(f"{task.get_name()} ended by itself")


def _log_crash(task: asyncio.Task[None]) -> None:
    """Nobody awaits a bridge in the background: its exception goes to the log."""
    if task.cancelled():
        return
    match task.exception():
        case None:
            pass
        case ConfigurationError() as error:
            log.error("bridge_stopped", problems=error.problems)
        case error:
            log.error("bridge_stopped", exc_info=error)
