"""The only wiring: builds the parts, runs them together, stops them in order."""

import asyncio
import gc
import importlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import structlog

from realtime_bridge import health, plugins, systemd, tokens
from realtime_bridge.answering import Answerer, RequestTable
from realtime_bridge.backlog import Backlog
from realtime_bridge.backoff import delays
from realtime_bridge.doorbell import Bell, BellState, Doorbell, DoorbellStatus, Reason
from realtime_bridge.keys import Keys, trial_of
from realtime_bridge.model import Failure, Outcome, TmaEvent
from realtime_bridge.outage import Outage
from realtime_bridge.pacing import Limits, Pacing
from realtime_bridge.pump import Pump
from realtime_bridge.queue import EventQueue, Policy, settlement
from realtime_bridge.repeats import Repeats
from realtime_bridge.requests import Request, RequestOutcome, RequestQueue
from realtime_bridge.rpc import Refused, Rpc, Unavailable
from realtime_bridge.settings import ConfigurationError, Delivery, Settings
from realtime_bridge.sweep import Follower, Leader
from realtime_bridge.telemetry import FailureOf, Metrics, Telemetry, no_failure

if TYPE_CHECKING:
    from aiogram import Bot

    from realtime_bridge.messages import Messages
    from realtime_bridge.telegram import Courier

log = structlog.get_logger()

T = TypeVar("T")
Lane: TypeAlias = Pump[Any, Any]

EVENTS = "tma_events"
PURGE_EVERY_SECONDS = 3600.0
PURGE_PAUSE_SECONDS = 1.0
PURGE_BATCH = 1000
LONE_BELL_SECONDS = 25.0


class _StoppedEarly(Exception):  # noqa: N818 - not an error: stop() came during the start
    pass


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
        self._more_tables = request_tables
        self._notify = notify
        self._policy = Policy(settings.delivery, settings.max_attempts)
        self._keys = Keys(settings, trial_of(settings))
        self._outage = Outage(self._database)
        self._said = Repeats(log)
        self._tables: list[RequestTable] = []
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._doorbell: Doorbell | None = None
        self._backlog: Backlog | None = None
        self._lanes: list[Lane] = []
        self._waiting_for: str | None = "start"

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
        self._tables = plugins.request_tables(
            self.settings, planner=self._planner, more=self._more_tables
        )
        messages = self._messages or self._build_messages()
        app = health.create_app(self.readiness, self.metrics.registry, self._refresh_metrics)
        try:
            async with AsyncExitStack() as stack:
                if self.settings.http_port:
                    await stack.enter_async_context(
                        health.serve(app, self.settings.http_host, self.settings.http_port)
                    )
                rpc = await stack.enter_async_context(
                    Rpc(
                        self.settings.supabase_url,
                        self._keys.current,
                        self._keys.replace,
                        self.settings.redact,
                    )
                )
                self._keys.tell()
                following = asyncio.create_task(self._keys.run(), name="keys")
                stack.push_async_callback(_cancel, [following])
                # Importing aiogram takes seconds: meanwhile the database is asked.
                telegram = _importing("realtime_bridge.telegram")
                await self._until_stopped(self._await_supabase(rpc))
                await self._until_stopped(telegram)
                bot = await stack.enter_async_context(self._the_bot())
                await self._until_stopped(self._await_telegram(bot))
                await self._until_stopped(self._register_bot(rpc, bot))
                await self._work(rpc, bot, messages)
        except _StoppedEarly:
            pass
        self._outage.close()
        log.info("stopped")

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether messages flow; a doorbell that is down makes it degraded, not unready."""
        doorbell = self._doorbell
        reasons = [
            self.settings.redact.line(reason)
            for reason in (
                self._waiting_for and f"waiting for {self._waiting_for}",
                *(lane.problem for lane in self._lanes),
                *(lane.halted for lane in self._lanes),
            )
            if reason
        ]
        state: dict[str, Any] = {"reasons": reasons, "degraded": False}
        if doorbell is not None:
            status = doorbell.status
            state["degraded"] = not status.healthy
            state["doorbell"] = {
                "changes": str(status.changes),
                "broadcast": str(status.broadcast),
                "last_error": status.last_error and self.settings.redact.line(status.last_error),
            }
        return not reasons, state

    async def _refresh_metrics(self) -> None:
        """Bring up to date what is asked for only when somebody looks."""
        if self._backlog is not None:
            await self._backlog.refresh()

    async def _work(self, rpc: Rpc, bot: "Bot", messages: "Messages") -> None:
        """Run the doorbell and the lanes until a stop is requested."""
        queue = self._event_queue(rpc)
        leader = self._leader(rpc, queue)
        lanes: list[Lane] = [
            self._events_lane(queue, leader, bot, messages),
            *(self._requests_lane(rpc, table, leader) for table in self._tables),
        ]
        doorbell = self._build_doorbell(lanes)
        self._lanes, self._doorbell, self._waiting_for = lanes, doorbell, None
        self._keys.subscribe(lambda _: doorbell.renew())
        self._backlog = Backlog(rpc, self.metrics)
        background = [
            asyncio.create_task(doorbell.run(), name="doorbell"),
            asyncio.create_task(self._purge(queue), name="purge"),
        ]
        pumping = [asyncio.create_task(lane.run(), name=lane.lane) for lane in lanes]
        stopping = asyncio.create_task(self._stopping.wait())
        log.info("started", delivery=self.settings.delivery.value, bot_id=bot.id)
        self._notify(systemd.READY)
        try:
            done, _ = await asyncio.wait(
                [*background, *pumping, stopping], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {stopping}:
                task.result()  # none of them ends by itself: if one did, say why and stop
                raise RuntimeError(f"{task.get_name()} ended by itself")
        finally:
            log.info("stopping", in_hand=sum(lane.in_hand for lane in lanes))
            self._notify(systemd.STOPPING)
            for lane in lanes:
                lane.stop()
            await asyncio.wait(pumping, timeout=self.settings.stop_grace)
            await asyncio.gather(*(lane.finish(self.settings.stop_grace) for lane in lanes))
            await _cancel([*background, *pumping, stopping])

    def _event_queue(self, rpc: Rpc) -> EventQueue:
        return EventQueue(
            rpc,
            lease=self.settings.lease_seconds,
            policy=self._policy,
            redact=self.settings.redact,
            ended=lambda failure: self.metrics.events.labels(EVENTS, failure).inc(),
        )

    def _failure_of(self, row: TmaEvent, outcome: Outcome) -> Failure | None:
        """What the queue makes of an outcome: a retry too many is a failure."""
        decided = settlement(row, outcome, self._policy)
        return decided.failure if decided else None

    def _leader(self, rpc: Rpc, queue: EventQueue) -> Leader[TmaEvent, Outcome]:
        return Leader(
            queue,
            rpc,
            lane=EVENTS,
            lease=self.settings.lease_seconds,
            resend_uncertain=self.settings.delivery is Delivery.AT_LEAST_ONCE,
        )

    def _events_lane(
        self,
        queue: EventQueue,
        leader: Leader[TmaEvent, Outcome],
        bot: "Bot",
        messages: "Messages",
    ) -> Pump[TmaEvent, Outcome]:
        settings = self.settings
        pacing = Pacing(
            Limits(
                settings.telegram_rate,
                settings.telegram_chat_rate,
                settings.telegram_chat_burst,
                settings.telegram_group_rate,
            )
        )
        pump = Pump(
            EVENTS,
            leader,
            self._courier(bot, messages, pacing, queue.start),
            _Watch(self.metrics, self, self._outage, failure_of=self._failure_of),
            slots=settings.concurrency,
            interval=self._sweep_interval,
            lease=settings.lease_seconds,
            hold=lambda: pacing.bot_pause,
        )
        self.metrics.watch(
            EVENTS,
            slots=settings.concurrency,
            in_hand=lambda: pump.in_hand,
            outcomes=("delivered", "retry", "deferred", *Failure),
        )
        return pump

    def _requests_lane(
        self, rpc: Rpc, table: RequestTable, leader: Leader[TmaEvent, Outcome]
    ) -> Pump[Request, RequestOutcome]:
        follower = Follower(
            RequestQueue(rpc, table.name, lease=table.lease, redact=self.settings.redact),
            wake=lambda: pump.wake("sweep"),
            keep=lambda: 1.5 * self._sweep_interval(),  # until the next sweep, and some more
        )
        leader.lead(table.name, table.lease, follower)
        pump = Pump(
            table.name,
            follower,
            Answerer(table, max_attempts=self.settings.max_attempts, redact=self.settings.redact),
            _Watch(self.metrics, self, self._outage),
            slots=table.concurrency,
            interval=self._sweep_interval,
            lease=table.lease,
        )
        self.metrics.watch(table.name, slots=table.concurrency, in_hand=lambda: pump.in_hand)
        return pump

    def _build_messages(self) -> "Messages":
        """Read the templates. Raises ConfigurationError for those that cannot be used."""
        from realtime_bridge.messages import Messages

        try:
            return Messages(
                templates_dir=self.settings.templates_dir,
                default_locale=self.settings.default_locale,
                mini_app_url=self.settings.mini_app_url,
            )
        except ValueError as error:
            raise ConfigurationError([f"TEMPLATES_DIR cannot be used: {error}"]) from error

    def _courier(
        self,
        bot: "Bot",
        messages: "Messages",
        pacing: Pacing,
        start: Callable[[TmaEvent], Awaitable[bool]],
    ) -> "Courier":
        from realtime_bridge.telegram import Courier

        settings = self.settings
        return Courier(
            bot,
            messages,
            pacing,
            start,
            send_timeout=settings.send_timeout,
            turn_limit=settings.turn_limit,
            start_limit=settings.lease_seconds - 2 * settings.send_timeout,
            paid=settings.allow_paid_broadcast,
            redact=settings.redact,
        )

    def _build_doorbell(self, lanes: Sequence[Lane]) -> Doorbell:
        settings = self.settings

        def wake(source: str) -> None:
            for lane in lanes:
                lane.wake(source)

        return Doorbell(
            url=settings.supabase_url,
            key=lambda: self._keys.current().secret,
            api_key=lambda: self._keys.current().gateway,
            tables=[lane.lane for lane in lanes],
            wake=wake,
            mode=settings.doorbell,
            observer=_DoorbellWatch(self.metrics, lanes, self._keys.suspect),
        )

    def _sweep_interval(self) -> float:
        return sweep_every(
            None if self._doorbell is None else self._doorbell.status,
            self.settings.sweep_interval,
            self.settings.fallback_poll_interval,
        )

    def _database(self, away: bool) -> None:  # noqa: FBT001 - it is what Outage calls
        """The lanes know sooner than Realtime, which may never say so."""
        if self._doorbell is not None:
            self._doorbell.database(away=away)

    def expect_rings(self, lane: str, rows: Sequence[TmaEvent | Request], begun: float) -> None:
        """Tell the doorbell which of these rows, whose claim was `begun` then, rang it.

        Their age is the database's word of a moment after `begun`, so none was inserted earlier
        than this says.
        """
        inserted = [begun - row.waited_seconds for row in rows if rang_at_insert(row)]
        if self._doorbell is not None and inserted:
            self._doorbell.expect(lane, inserted)

    @asynccontextmanager
    async def _the_bot(self) -> "AsyncIterator[Bot]":
        if self._bot is not None:
            yield self._bot
            return
        from aiogram import Bot
        from aiogram.client.telegram import TelegramAPIServer

        from realtime_bridge.botapi import Session

        session = Session(
            api=TelegramAPIServer.from_base(self.settings.telegram_api_url),
            limit=self.settings.concurrency,
        )
        # Importing aiogram leaves two hundred thousand objects that stay for ever. Looking at them
        # again and again was a fifth of the time of a message. In a process that is not ours
        # alone, that is for its owner to decide.
        gc.freeze()
        async with Bot(self.settings.bot_token.get_secret_value(), session=session) as bot:
            yield bot

    async def _await_supabase(self, rpc: Rpc) -> None:
        """Wait until the database answers; a refusal is a configuration error."""
        self._waiting_for = "Supabase"
        try:
            await self._until_answered(rpc, "tma_event_stats")
            for table in self._tables:
                await self._until_answered(rpc, "count_tma_requests", p_table=table.name)
        except Refused as error:
            raise ConfigurationError([str(error)]) from error

    async def _until_answered(self, rpc: Rpc, function: str, **arguments: Any) -> None:
        """Call until the database answers. Raises Refused."""
        for wait in delays(cap=15.0):
            try:
                await rpc.call(function, arguments)
            except Unavailable as error:
                self._said.warning(
                    "waiting_for_supabase",
                    url=self.settings.supabase_url,
                    error=str(error),
                    next_try_in_s=round(wait, 1),
                    fix="check SUPABASE_URL and that the project is not paused",
                )
                await asyncio.sleep(wait)
            else:
                self._say_over("waiting_for_supabase", "supabase_answers")
                return

    def _say_over(self, waiting: str, event: str) -> None:
        if total := self._said.over(waiting):
            log.info(event, lasted_s=round(total.seconds, 1), failed_calls=total.times)

    async def _await_telegram(self, bot: "Bot") -> None:
        """Wait until Telegram answers; an unknown token is a configuration error."""
        from aiogram.exceptions import TelegramNotFound, TelegramUnauthorizedError

        self._waiting_for = "Telegram"
        for wait in delays(cap=15.0):
            try:
                await bot.get_me()
            except (TelegramUnauthorizedError, TelegramNotFound) as error:
                raise ConfigurationError(
                    ["Telegram does not know BOT_TOKEN. Ask BotFather for the token: /mybots"]
                ) from error
            except Exception as error:  # noqa: BLE001 - aiogram's, and what a strange answer raises
                self._said.warning(
                    "waiting_for_telegram",
                    url=self.settings.telegram_api_url,
                    error=type(error.__cause__ or error).__name__,
                    next_try_in_s=round(wait, 1),
                    fix="check the network, and TELEGRAM_API_URL if you set it",
                )
                await asyncio.sleep(wait)
            else:
                self._say_over("waiting_for_telegram", "telegram_answers")
                return

    async def _register_bot(self, rpc: Rpc, bot: "Bot") -> None:
        """Let the database verify Mini App users: it gets a derived key, never the token."""
        derived = tokens.web_app_key(bot.token)
        try:
            await self._until_answered(rpc, "register_tma_bot", p_bot_id=bot.id, p_key=derived)
        except Refused as error:
            effect = "new Mini App users are refused"
            log.error("bot_key_not_registered", error=str(error), effect=effect)

    async def _purge(self, queue: EventQueue) -> None:
        """Delete old terminal rows in small batches, so that deliveries do not notice."""
        if not self.settings.retention_days:
            await asyncio.Event().wait()
        keep = timedelta(days=self.settings.retention_days)
        while True:
            purged = 0
            try:
                purged = await queue.purge(keep, PURGE_BATCH)
            except (Unavailable, Refused) as error:
                log.warning("purge_failed", error=str(error))
            except Exception:
                log.exception("purge_failed")  # deliveries go on
            more = purged == PURGE_BATCH
            await asyncio.sleep(PURGE_PAUSE_SECONDS if more else PURGE_EVERY_SECONDS)

    async def _until_stopped(self, work: Awaitable[T]) -> T:
        """Await something that may take long, unless a stop is requested first."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise _StoppedEarly
        finally:
            await _cancel([task, stopping])


class _Watch(Telemetry):
    """Telemetry, with an eye on what the doorbell should have heard."""

    def __init__(
        self,
        metrics: Metrics,
        bridge: Bridge,
        outage: Outage,
        failure_of: FailureOf = no_failure,
    ) -> None:
        super().__init__(metrics, failure_of, outage)
        self._bridge = bridge

    def claimed(self, lane: str, rows: Any, source: str, begun: float) -> None:
        super().claimed(lane, rows, source, begun)
        self._bridge.expect_rings(lane, rows, begun)


def sweep_every(status: DoorbellStatus | None, interval: float, fallback: float) -> float:
    """Seconds between sweeps: `fallback` where no bell can be counted on.

    A lone bell has no other to contradict it: the first row that it did not ring for is found by
    a sweep, which comes so early that the silence is noticed within half a minute.
    """
    if status is None or not status.healthy:
        return fallback
    lone = [status.changes, status.broadcast].count(BellState.READY) == 1
    return min(interval, LONE_BELL_SECONDS) if lone else interval


def rang_at_insert(row: TmaEvent | Request) -> bool:
    """Whether this row, now claimed, must have rung the bells when it was inserted.

    Not one that was scheduled, nor one that comes back: its bell is another one, or none. A row
    that says it is of the future is no witness.
    """
    due = isinstance(row, Request) or row.deliver_after <= row.created_at
    return due and row.attempt == 1 and row.retries == 0 and row.waited_seconds >= 0


class _DoorbellWatch:
    """Shows the doorbell's state in the metrics; while it is down the lanes sweep faster."""

    def __init__(
        self, metrics: Metrics, lanes: Sequence[Lane], suspect_key: Callable[[], None]
    ) -> None:
        self._metrics = metrics
        self._lanes = lanes
        self._suspect_key = suspect_key
        for bell in Bell:
            metrics.doorbell_ready.labels(bell.value).set(0)

    def ready(self, bell: Bell) -> None:
        self._metrics.doorbell_ready.labels(bell.value).set(1)

    def down(self, reason: Reason) -> None:  # noqa: ARG002 - the rebuild that follows counts it
        for bell in Bell:
            self._metrics.doorbell_ready.labels(bell.value).set(0)
        for lane in self._lanes:
            lane.sweep_soon()

    def rebuilt(self, reason: Reason) -> None:
        self._metrics.doorbell_rebuilds.labels(reason.value).inc()
        self._suspect_key()  # whatever the reason: a server may cut those whose key was revoked

    def refused(self, bell: Bell, text: str) -> None:  # noqa: ARG002 - the doorbell logs it
        self._metrics.doorbell_ready.labels(bell.value).set(0)

    def deaf(self, bell: Bell) -> None:
        self._metrics.doorbell_ready.labels(bell.value).set(0)


def _importing(module: str) -> asyncio.Future[Any]:
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


async def _cancel(tasks: list[asyncio.Future[Any]] | list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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


async def run_until_signal(settings: Settings) -> None:
    """Run a bridge as a process.

    SIGINT and SIGTERM stop it cleanly, SIGHUP makes it read its keys again, systemd is told how
    it is.
    """
    bridge = Bridge(settings, notify=systemd.notify)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, bridge.request_stop)
    loop.add_signal_handler(signal.SIGHUP, _hung_up(bridge))
    beating = asyncio.create_task(systemd.beat())
    try:
        await bridge.run()
    finally:
        await _cancel([beating])


def _hung_up(bridge: Bridge) -> Callable[[], None]:
    """What SIGHUP means: the terminal that we were started from is gone, or somebody sent it."""
    may_end_us = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # nohup

    def handler() -> None:
        if may_end_us and not _has_terminal():
            bridge.request_stop()
        else:
            bridge.reload()

    return handler


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
