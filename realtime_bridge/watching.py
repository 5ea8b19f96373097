"""What the lanes, the doorbell and the metrics tell each other."""

from collections.abc import Callable, Sequence
from typing import Any

from realtime_bridge.doorbell import Bell, BellState, DoorbellObserver, DoorbellStatus, Reason
from realtime_bridge.model import TmaEvent, Wake
from realtime_bridge.observe import FailureOf, Metrics, Outage, Telemetry, no_failure
from realtime_bridge.request_tables import Request

LONE_BELL_SECONDS = 25.0

# Takes a lane, and when rows were inserted that must have rung (by the lane's clock).
Expect = Callable[[str, Sequence[float]], None]


class LaneTelemetry(Telemetry):
    """Telemetry that also tells the doorbell what it should have heard."""

    def __init__(
        self,
        metrics: Metrics,
        outage: Outage,
        expect: Expect,
        failure_of: FailureOf = no_failure,
    ) -> None:
        super().__init__(metrics, failure_of, outage)
        self._expect = expect

    def claimed(self, lane: str, rows: Sequence[Any], source: Wake, begun: float) -> None:
        """Count claimed rows, and tell the doorbell when those were inserted that rang.

        The database measured their age a moment after `begun`, so none was inserted earlier than
        this computes.
        """
        super().claimed(lane, rows, source, begun)
        inserted = [begun - row.waited_seconds for row in rows if rang_at_insert(row)]
        if inserted:
            self._expect(lane, inserted)


class DoorbellTelemetry(DoorbellObserver):
    """Shows the doorbell's state in the metrics, and makes sweeps come sooner while it is down."""

    def __init__(
        self,
        metrics: Metrics,
        hurry: Callable[[], None],
        suspect_key: Callable[[], None],
        heard: Callable[[], None],
    ) -> None:
        """`heard()` is called when a bell can be heard that could not be before."""
        self._metrics = metrics
        self._hurry = hurry
        self._suspect_key = suspect_key
        self._heard = heard
        for bell in Bell:
            metrics.doorbell_ready.labels(bell.value).set(0)

    def ready(self, bell: Bell) -> None:
        """Record that a bell can be heard."""
        self._metrics.doorbell_ready.labels(bell.value).set(1)
        self._heard()

    def down(self, reason: Reason) -> None:  # noqa: ARG002 - the rebuild that follows counts it
        """Record that no bell can be heard."""
        for bell in Bell:
            self._metrics.doorbell_ready.labels(bell.value).set(0)
        self._hurry()

    def rebuilt(self, reason: Reason) -> None:
        """Count a client that was rebuilt."""
        self._metrics.doorbell_rebuilds.labels(reason.value).inc()
        self._suspect_key()  # a server may cut off whoever has a revoked key

    def refused(self, bell: Bell, text: str) -> None:  # noqa: ARG002 - the doorbell logs it
        """Record that the server refused a bell."""
        self._metrics.doorbell_ready.labels(bell.value).set(0)

    def deaf(self, bell: Bell) -> None:
        """Record that a bell did not ring when it should have."""
        self._metrics.doorbell_ready.labels(bell.value).set(0)


def sweep_every(status: DoorbellStatus, interval: float, fallback: float) -> float:
    """Seconds between sweeps: `fallback` while no bell can be relied on.

    If only one bell is ready, no other one shows that it has gone silent: a sweep must find the
    first row that it missed, and does so within half a minute.
    """
    if not status.healthy:
        return fallback
    lone = [status.changes, status.broadcast].count(BellState.READY) == 1
    return min(interval, LONE_BELL_SECONDS) if lone else interval


def rang_at_insert(row: TmaEvent | Request) -> bool:
    """Whether this claimed row must have rung the bells when it was inserted.

    A scheduled row and a retried one rang at another time, or not at all; the age of a row from the
    future proves nothing.
    """
    due = isinstance(row, Request) or row.deliver_after <= row.created_at
    return due and row.attempt == 1 and row.retries == 0 and row.waited_seconds >= 0
