"""Builds the bridge's parts and connects them; nothing runs yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import structlog

from realtime_bridge.database import Keys, Rpc
from realtime_bridge.doorbell import Doorbell
from realtime_bridge.model import TmaEvent, Wake
from realtime_bridge.observe import Backlog, Metrics, Outage, ThrottledLog
from realtime_bridge.outcomes import Failure, Outcome, Sent
from realtime_bridge.replica import Replica
from realtime_bridge.request_tables import (
    Request,
    RequestHandler,
    RequestOutcome,
    RequestQueue,
    RequestTable,
)
from realtime_bridge.settings import Delivery, Settings
from realtime_bridge.watching import DoorbellTelemetry, LaneTelemetry, sweep_every
from realtime_bridge.worker import (
    AGREE_ON_LIMITS,
    CommonSweep,
    EventQueue,
    Limits,
    Policy,
    Pump,
    Retention,
    Sweeper,
    settlement,
)

if TYPE_CHECKING:
    from aiogram import Bot

    from realtime_bridge.messages import Messages
    from realtime_bridge.telegram import Sender

log = structlog.get_logger()

Lane: TypeAlias = Pump[Any, Any]

EVENTS = "tma_events"


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs together once the bridge has started."""

    lanes: Sequence[Lane]
    sweeper: Sweeper
    doorbell: Doorbell
    retention: Retention
    backlog: Backlog
    outage: Outage


class Wiring:
    """Builds the parts for one set of settings."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        keys: Keys,
        rpc: Rpc,
        tables: Sequence[RequestTable],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._rpc = rpc
        self._tables = tables
        self._policy = Policy(settings.delivery, settings.max_attempts)
        self._lanes: list[Lane] = []
        self._said = ThrottledLog(log)
        self._expect_message: Callable[[], None] = lambda: None  # until there is a bot
        self._outage = Outage(lambda away: self._doorbell.database(away=away))
        self._sweeper = self._build_sweeper()
        self._doorbell = self._build_doorbell(keys)

    def build(self, bot: "Bot", messages: "Messages") -> Parts:
        """Build everything around a bot that answers."""
        from realtime_bridge.telegram import Sender, Warmth

        self._expect_message = Warmth(bot).expect
        sender: Sender
        queue = self._event_queue(messages.digests, in_doubt=lambda: sender.in_doubt)
        sender = self._sender(bot, messages, queue)
        self._lanes.append(self._events_lane(queue, sender))
        self._lanes += map(self._requests_lane, self._tables)
        self._sweeper.follow(*self._lanes)
        days = self._settings.retention_days
        return Parts(
            self._lanes,
            self._sweeper,
            self._doorbell,
            Retention(queue.purge, timedelta(days=days) if days else None),
            Backlog(self._rpc, self._metrics),
            self._outage,
        )

    def _event_queue(
        self, digests: Mapping[str, float], in_doubt: Callable[[], bool]
    ) -> EventQueue:
        return EventQueue(
            self._rpc,
            policy=self._policy,
            limits=limits_of(self._settings),
            redact=self._settings.redact,
            digests=digests,
            ended=lambda word, rows: self._metrics.events.labels(EVENTS, word).inc(rows),
            limits_differ=self._say_limits_differ,
            in_doubt=in_doubt,
        )

    def _say_limits_differ(self) -> None:
        self._said.warning("limits_differ", fix=AGREE_ON_LIMITS)

    def _failure_of(self, row: TmaEvent, outcome: Outcome) -> Failure | None:
        """The failure that an outcome ends its row with, if it does: one retry too many is one."""
        if isinstance(outcome, Sent):
            return None
        decided = settlement(row, outcome, self._policy)
        return decided.failure if decided else None

    def _build_sweeper(self) -> Sweeper:
        settings = self._settings
        replica = Replica(settings, lambda: self._doorbell.status, lambda: self._sweep_interval)
        return Sweeper(
            CommonSweep(
                self._rpc,
                lease=settings.lease_seconds,
                resend_uncertain=settings.delivery is Delivery.AT_LEAST_ONCE,
                request_leases={table.name: table.lease for table in self._tables},
                replica=replica.told,
            ),
            interval=lambda: self._sweep_interval,
            # Events only: answering a request twice does no harm.
            settle_first=lambda: self._lanes[0].settle_until,
        )

    @property
    def _sweep_interval(self) -> float:
        settings = self._settings
        return sweep_every(
            self._doorbell.status, settings.sweep_interval, settings.fallback_poll_interval
        )

    def _build_doorbell(self, keys: Keys) -> Doorbell:
        settings = self._settings

        def wake(source: Wake) -> None:
            if source.is_a_bell:
                self._expect_message()
            for lane in self._lanes:
                lane.wake(source)

        doorbell = Doorbell(
            url=settings.supabase_url,
            key=lambda: keys.current().secret,
            api_key=lambda: keys.current().gateway,
            tables=[EVENTS, *(table.name for table in self._tables)],
            wake=wake,
            mode=settings.doorbell,
            observer=DoorbellTelemetry(
                self._metrics,
                self._sweeper.hurry,
                keys.suspect,
                heard=self._sweeper.soon,  # the sweep tells who looks at the bridges
            ),
        )
        keys.subscribe(lambda _: doorbell.renew())
        return doorbell

    def _events_lane(self, queue: EventQueue, sender: "Sender") -> Pump[TmaEvent, Outcome]:
        settings = self._settings
        pump = Pump(
            EVENTS,
            queue,
            sender,
            LaneTelemetry(self._metrics, self._outage, self._doorbell.expect, self._failure_of),
            self._sweeper,
            slots=settings.concurrency,
            lease=settings.lease_seconds,
            undone=sender.unsent,
        )
        self._metrics.watch(
            EVENTS,
            slots=settings.concurrency,
            in_hand=lambda: pump.in_hand,
            outcomes=("delivered", "retry", "deferred", "muted", *Failure),
        )
        return pump

    def _requests_lane(self, table: RequestTable) -> Pump[Request, RequestOutcome]:
        settings = self._settings
        queue = RequestQueue(self._rpc, table.name, redact=settings.redact)
        pump = Pump(
            table.name,
            queue,
            RequestHandler(
                table,
                max_attempts=settings.max_attempts,
                redact=settings.redact,
                report=queue.report,
            ),
            LaneTelemetry(self._metrics, self._outage, self._doorbell.expect),
            self._sweeper,
            slots=table.concurrency,
            lease=table.lease,
        )
        self._metrics.watch(table.name, slots=table.concurrency, in_hand=lambda: pump.in_hand)
        return pump

    def _sender(self, bot: "Bot", messages: "Messages", queue: EventQueue) -> "Sender":
        from realtime_bridge.telegram import Sender

        settings = self._settings
        return Sender(
            bot,
            messages,
            queue.start,
            send_timeout=settings.send_timeout,
            start_limit=settings.lease_seconds - 2 * settings.send_timeout,
            paid=settings.allow_paid_broadcast,
            redact=settings.redact,
        )


def limits_of(settings: Settings) -> Limits:
    """Return the limits that all replicas together keep."""
    return Limits(
        settings.telegram_rate,
        settings.telegram_chat_rate,
        settings.telegram_chat_burst,
        settings.telegram_group_rate,
    )
