"""What the lanes, the doorbell and the metrics tell each other."""

from collections.abc import Callable, Sequence
from typing import Any

from realtime_bridge.doorbell import Bell, BellState, DoorbellObserver, DoorbellStatus, Reason
from realtime_bridge.model import TmaEvent, Wake
from realtime_bridge.observe import FailureOf, Metrics, Outage, Telemetry, no_failure
from realtime_bridge.request_tables import Request

LONE_BELL_SECONDS = 25.0

# Of a lane, and the moments (of the lane's clock) at which rows were inserted that must have rung.
Expect = Callable[[str, Sequence[float]], None]


class LaneTelemetry(Telemetry):
    """Telemetry that also tells the doorbell which rings it should have heard."""

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
        """Count claimed rows.

        Their age is the database's word of a moment after `begun`, so none was inserted earlier
        than this says.
        """
        super().claimed(lane, rows, source, begun)
        inserted = [begun - row.waited_seconds for row in rows if rang_at_insert(row)]
        if inserted:
            self._expect(lane, inserted)


class DoorbellTelemetry(DoorbellObserver):
    """Shows the doorbell's state in the metrics; while it is down sweeps come sooner."""

    def __init__(
        self, metrics: Metrics, hurry: Callable[[], None], suspect_key: Callable[[], None]
    ) -> None:
        self._metrics = metrics
        self._hurry = hurry
        self._suspect_key = suspect_key
        for bell in Bell:
            metrics.doorbell_ready.labels(bell.value).set(0)

    def ready(self, bell: Bell) -> None:
        """Show that a bell can be heard."""
        self._metrics.doorbell_ready.labels(bell.value).set(1)

    def down(self, reason: Reason) -> None:  # noqa: ARG002 - the rebuild that follows counts it
        """Show that none can be heard."""
        for bell in Bell:
            self._metrics.doorbell_ready.labels(bell.value).set(0)
        self._hurry()

    def rebuilt(self, reason: Reason) -> None:
        """Count a client that was built anew."""
        self._metrics.doorbell_rebuilds.labels(reason.value).inc()
        self._suspect_key()  # whatever the reason: a server may cut those whose key was revoked

    def refused(self, bell: Bell, text: str) -> None:  # noqa: ARG002 - the doorbell logs it
        """Show that the server does not grant a bell."""
        self._metrics.doorbell_ready.labels(bell.value).set(0)

    def deaf(self, bell: Bell) -> None:
        """Show that a bell did not ring when it should have."""
        self._metrics.doorbell_ready.labels(bell.value).set(0)


def sweep_every(status: DoorbellStatus, interval: float, fallback: float) -> float:
    """Seconds between sweeps: `fallback` where no bell can be counted on.

    A lone bell has no other to contradict it: the first row that it did not ring for is found by
    a sweep, which comes so early that the silence is noticed within half a minute.
    """
    if not status.healthy:
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
