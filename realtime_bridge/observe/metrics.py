"""The bridge's Prometheus metrics."""

from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_PAUSE_SECONDS = (1, 2, 5, 10, 20, 40, 80, 300)

# They would double the number of series, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The bridge's Prometheus metrics, in a registry of their own; never labelled with ids."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory, open files
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        by_lane = partial(histogram, labelnames=["lane"], buckets=_SECONDS)

        self.events = counter("bridge_events", "Outcomes written", ["lane", "outcome"])
        self.wakeups = counter(
            "bridge_wakeups", "Wake-ups, by what caused them", ["lane", "source"]
        )
        self.claims = counter(
            "bridge_claimed_rows", "Rows claimed, by what led to it", ["lane", "source"]
        )
        self.pickup = by_lane("bridge_pickup_seconds", "From due to claimed")
        self.delivery = by_lane("bridge_delivery_seconds", "From due to settled as delivered")
        self.recovered = counter(
            "bridge_recovered_rows", "Rows of a worker that died", ["lane", "fate"]
        )
        self.queue_errors = counter("bridge_queue_errors", "Database calls that failed", ["lane"])
        self.retry_after = histogram(
            "bridge_telegram_retry_after_seconds",
            "Pauses that Telegram asked for",
            buckets=_PAUSE_SECONDS,
        )
        self.in_hand = gauge("bridge_in_hand", "Rows being handled here now", ["lane"])
        self.slots = gauge("bridge_slots", "Rows that can be handled here at a time", ["lane"])
        self.halted = gauge("bridge_halted", "1 while nothing can be sent at all", ["lane"])
        self.pending = gauge("bridge_pending", "Rows that are due and not claimed", ["lane"])
        self.oldest_pending = gauge(
            "bridge_oldest_pending_seconds", "Age of the oldest due row", ["lane"]
        )
        self.doorbell_ready = gauge(
            "bridge_doorbell_ready", "1 while this bell can be counted on", ["bell"]
        )
        self.doorbell_rebuilds = counter(
            "bridge_doorbell_rebuilds", "Realtime connections replaced", ["reason"]
        )

    def watch(
        self,
        lane: str,
        *,
        slots: int,
        in_hand: Callable[[], float],
        outcomes: Iterable[str] = (),
    ) -> None:
        """Show a lane from its start: its slots, and zeros for what has not happened yet.

        A counter that first appears as one has not risen, so no alert would see it.
        """
        self.slots.labels(lane).set(slots)
        self.in_hand.labels(lane).set_function(in_hand)
        self.halted.labels(lane).set(0)
        self.queue_errors.labels(lane)
        for fate in ("returned", "resent", "uncertain"):
            self.recovered.labels(lane, fate)
        for outcome in outcomes:
            self.events.labels(lane, outcome)
