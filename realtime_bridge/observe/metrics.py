"""The bridge's Prometheus metrics."""

from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


# A second series for each of ours, that nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The bridge's Prometheus metrics, in a registry of their own; no ids as labels."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory, open files
        self.events = Counter(
            "bridge_events", "Outcomes written", ["lane", "outcome"], registry=self.registry
        )
        self.wakeups = Counter(
            "bridge_wakeups", "What rang", ["lane", "source"], registry=self.registry
        )
        self.claims = Counter(
            "bridge_claimed_rows",
            "Rows claimed, by what led to it",
            ["lane", "source"],
            registry=self.registry,
        )
        self.pickup = Histogram(
            "bridge_pickup_seconds",
            "From due to claimed",
            ["lane"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.delivery = Histogram(
            "bridge_delivery_seconds",
            "From due to settled as delivered",
            ["lane"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.recovered = Counter(
            "bridge_recovered_rows",
            "Rows of a worker that died",
            ["lane", "fate"],
            registry=self.registry,
        )
        self.queue_errors = Counter(
            "bridge_queue_errors",
            "Calls that the database did not answer",
            ["lane"],
            registry=self.registry,
        )
        self.retry_after = Histogram(
            "bridge_telegram_retry_after_seconds",
            "Pauses that Telegram asked for",
            buckets=(1, 2, 5, 10, 20, 40, 80, 300),
            registry=self.registry,
        )
        self.in_hand = Gauge(
            "bridge_in_hand", "Rows being handled here now", ["lane"], registry=self.registry
        )
        self.slots = Gauge(
            "bridge_slots",
            "Rows that can be handled here at a time",
            ["lane"],
            registry=self.registry,
        )
        self.halted = Gauge(
            "bridge_halted", "1 while nothing can be sent at all", ["lane"], registry=self.registry
        )
        self.doorbell_ready = Gauge(
            "bridge_doorbell_ready",
            "1 while this bell is subscribed",
            ["bell"],
            registry=self.registry,
        )
        self.doorbell_rebuilds = Counter(
            "bridge_doorbell_rebuilds",
            "Realtime clients torn down",
            ["reason"],
            registry=self.registry,
        )
        self.pending = Gauge(
            "bridge_pending", "Rows that are due and not claimed", ["lane"], registry=self.registry
        )
        self.oldest_pending = Gauge(
            "bridge_oldest_pending_seconds",
            "Age of the oldest due row",
            ["lane"],
            registry=self.registry,
        )

    def watch(
        self,
        lane: str,
        *,
        slots: int,
        in_hand: Callable[[], float],
        outcomes: Iterable[str] = (),
    ) -> None:
        """Show a lane from its start: how full it is, and zeros for what has not happened yet.

        A worker without a free slot looks dead, and a counter that begins at one has not risen.
        """
        self.slots.labels(lane).set(slots)
        self.in_hand.labels(lane).set_function(in_hand)
        self.halted.labels(lane).set(0)
        self.queue_errors.labels(lane)
        for fate in ("returned", "resent", "uncertain"):
            self.recovered.labels(lane, fate)
        for outcome in outcomes:
            self.events.labels(lane, outcome)
