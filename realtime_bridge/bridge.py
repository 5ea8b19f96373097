"""The whole bridge in one object."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import structlog

from realtime_bridge.database import Keys, Rpc, trial_of
from realtime_bridge.observe import READY, STOPPING, Metrics, health_app, serve
from realtime_bridge.request_tables import RequestTable, load_request_tables
from realtime_bridge.settings import ConfigurationError, Settings
from realtime_bridge.startup import Startup, StoppedEarly, importing
from realtime_bridge.wiring import Parts, Wiring, messages_of

if TYPE_CHECKING:
    from aiogram import Bot

    from realtime_bridge.messages import Messages

log = structlog.get_logger()


class Bridge:
    """The whole bridge in one object: run() in a sidecar, start() and stop() inside a bot."""

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
        """Build nothing yet. A bot that is passed in stays the caller's: it is not closed.

        `planner` stands in for PLANNER; `request_tables` are answered beside REQUEST_TABLES.
        `notify` is told READY=1 and STOPPING=1, as systemd wants to be.
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
        self._running.add_done_callback(_report)

    async def stop(self) -> None:
        """Stop cleanly and wait for it; for `dispatcher.shutdown.register(bridge.stop)`."""
        self.request_stop()
        if self._running is not None:
            await asyncio.wait([self._running])

    def request_stop(self) -> None:
        """Ask run() to stop: no new claims, what is on its way is finished."""
        self._stopping.set()

    def reload(self) -> None:
        """Read the keys again now, as SIGHUP does in a process of the bridge's own.

        Files that NAME_FILE names are followed without it. Callable from a signal handler.
        """
        self._keys.reload()

    async def run(self) -> None:
        """Run until a stop is requested.

        Raises ConfigurationError when something is wrong that only a person can mend. What may
        come up later (PostgREST, Telegram) is waited for.
        """
        settings = self.settings
        tables = load_request_tables(settings, planner=self._planner, more=self._request_tables)
        messages = self._messages or messages_of(settings)
        app = health_app(self.readiness, self.metrics.registry, self._refresh_metrics)
        try:
            async with AsyncExitStack() as stack:
                if settings.http_port:
                    serving = serve(app, settings.http_host, settings.http_port)
                    await stack.enter_async_context(serving)
                rpc = await stack.enter_async_context(
                    Rpc(
                        settings.supabase_url,
                        self._keys.current,
                        self._keys.replace,
                        settings.redact,
                    )
                )
                await stack.enter_async_context(self._following_keys())
                # Importing aiogram takes seconds: meanwhile the database is asked.
                telegram = importing("realtime_bridge.telegram")
                await self._startup.database(rpc, tables)
                await self._startup.unless_stopped(telegram)
                bot = await stack.enter_async_context(self._the_bot())
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
        """Whether messages flow; a doorbell that is down makes it degraded, not unready."""
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
        """Bring up to date what is asked for only when somebody looks."""
        if self._parts is not None:
            await self._parts.backlog.refresh()

    async def _work(self, parts: Parts) -> None:
        """Run all parts until a stop is requested, and stop them in order."""
        # Bare tasks: a claim in flight must see its end even if a sibling crashed, or its rows
        # would be stranded until their lease ends.
        pumping = [asyncio.create_task(lane.run(), name=lane.lane) for lane in parts.lanes]
        self._notify(READY)
        try:
            await _together(
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
    async def _following_keys(self) -> AsyncIterator[None]:
        """Read keys again while the context lasts."""
        self._keys.tell()
        # Not in a TaskGroup with the rest: keys are followed before there is anything to run.
        following = asyncio.create_task(self._keys.run(), name="keys")
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    @asynccontextmanager
    async def _the_bot(self) -> "AsyncIterator[Bot]":
        if self._bot is not None:
            yield self._bot
            return
        from realtime_bridge.telegram import own_bot

        async with own_bot(self.settings) as bot:
            yield bot


class _Stop(Exception):  # noqa: N818 - how a TaskGroup is told to end
    pass


async def _together(stop: asyncio.Event, **works: Coroutine[Any, Any, Any]) -> None:
    """Run works that never end, until `stop`. What one of them raises is raised, and ends all."""
    try:
        async with asyncio.TaskGroup() as group:
            for name, work in works.items():
                group.create_task(_for_ever(name, work), name=name)
            group.create_task(_end(stop), name="stop")
    except* _Stop:
        pass
    except* Exception as crash:  # noqa: BLE001 - whatever it is, it is raised
        raise crash.exceptions[0] from None


async def _end(stop: asyncio.Event) -> NoReturn:
    await stop.wait()
    raise _Stop


async def _for_ever(name: str, work: Coroutine[Any, Any, Any]) -> NoReturn:
    await work
    raise RuntimeError(f"{name} ended by itself")


async def _first_end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until one of the tasks ends; raise what it raised, or that it ended."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
        raise RuntimeError(f"{task.get_name()} ended by itself")


def _report(task: asyncio.Task[None]) -> None:
    """A bridge in the background that ended by an exception must not do so unseen."""
    if task.cancelled():
        return
    match task.exception():
        case None:
            pass
        case ConfigurationError() as error:
            log.error("bridge_stopped", problems=error.problems)
        case error:
            log.error("bridge_stopped", exc_info=error)
