"""What happens to rows: logged for people, and counted for Prometheus."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from realtime_bridge.base import Stopwatch
from realtime_bridge.model import Recovered, Wake
from realtime_bridge.observe.metrics import Metrics
from realtime_bridge.observe.outage import Outage
from realtime_bridge.outcomes import Cause, Failed, Halted, Lost, Retry, Sent, Uncertain

log = structlog.get_logger()


# Of a row and its outcome: the failure reason, if the row fails.
FailureOf = Callable[[Any, Any], str | None]


def no_failure(_row: Any, _outcome: Any) -> None:
    """Let every outcome speak for itself."""


class Telemetry:
    """Observes the pumps and the sweeper."""

    def __init__(
        self,
        metrics: Metrics,
        failure_of: FailureOf = no_failure,
        outage: Outage | None = None,
    ) -> None:
        """`failure_of`: which outcomes make their row fail, and for what reason.

        `outage` is shared by all lanes that use the same database.
        """
        self._metrics = metrics
        self._outage = outage or Outage()
        self._failure_of = failure_of

    def woken(self, lane: str, source: Wake) -> None:
        """Count a wake-up."""
        self._metrics.wakeups.labels(lane, source).inc()

    def claimed(
        self,
        lane: str,
        rows: Sequence[Any],
        source: Wake,
        begun: float,  # noqa: ARG002 - for subclasses
    ) -> None:
        """Count claimed rows and how long they waited."""
        waits = [wait for row in rows for wait in _waits_of(row)]
        self._metrics.claims.labels(lane, source).inc(len(waits))
        for wait in waits:
            self._metrics.pickup.labels(lane).observe(wait)
        log.debug("claimed", lane=lane, rows=len(waits), source=source)

    def settled(
        self, lane: str, row: Any, outcome: Any, stopwatch: Stopwatch, *, held: bool
    ) -> None:
        """Log the one line that every settled row gets; never its text or payload.

        Rows that were gathered into one message share the line, and are counted one by one.
        """
        word = outcome.word
        details, level = _log_fields(outcome)
        if not held and word != "lost":
            word, level = "too_late", "warning"
        elif failure := self._failure_of(row, outcome):
            word, level = failure, "warning" if level == "info" else level
        waits = _waits_of(row)
        self._metrics.events.labels(lane, word).inc(len(waits))
        for wait in waits if word == "delivered" else ():
            self._metrics.delivery.labels(lane).observe(wait + stopwatch.seconds)
        if isinstance(outcome, Retry) and outcome.cause is Cause.TELEGRAM_PAUSE and outcome.after:
            self._metrics.retry_after.observe(outcome.after)
        getattr(log, level)(
            word,
            lane=lane,
            id=row.id,
            type=getattr(row, "event_type", lane),
            attempt=row.attempt,
            **({"rows": len(waits)} if len(waits) > 1 else {}),
            pickup_ms=round(row.waited_seconds * 1000, 1),
            **{f"{stage}_ms": lap for stage, lap in stopwatch.milliseconds.items()},
            **details,
        )

    def recovered(self, lane: str, recovered: Recovered) -> None:
        """Report rows whose worker died."""
        fates = {
            "returned": recovered.returned,
            "resent": recovered.resent,
            "uncertain": recovered.uncertain,
        }
        for fate, rows in fates.items():
            self._metrics.recovered.labels(lane, fate).inc(rows)
        log.warning("recovered", lane=lane, **fates)

    def queue_down(self, lane: str, error: Exception) -> None:
        """Report a call that failed: Unavailable or Refused."""
        self._metrics.queue_errors.labels(lane).inc()
        self._outage.failed(lane, error)

    def queue_up(self, lane: str) -> None:
        """Report that a lane's calls work again."""
        self._outage.answered(lane)

    def halted(self, lane: str, why: str | None) -> None:
        """Report that nothing can be sent, and why; None: sending works again."""
        self._metrics.halted.labels(lane).set(why is not None)
        if why is None:
            log.info("sending_again", lane=lane)
        else:
            log.error("sending_halted", lane=lane, error=why)


def _waits_of(row: Any) -> Sequence[float]:
    """How long each row of a message waited; there may be several in one."""
    waits: Sequence[float] = getattr(row, "waits", (row.waited_seconds,))
    return waits


def _log_fields(outcome: Any) -> tuple[dict[str, Any], str]:
    """Return the log fields of an outcome besides its word, and the level."""
    match outcome:
        case Sent(message_id):
            return {"message_id": message_id}, "info"
        case Retry(why, after):
            return {"error": why, "after_s": after}, "info"
        case Failed(error=error):
            return {"error": error}, "warning"
        case Uncertain(why) | Halted(why):
            return {"error": why}, "error"
        case Lost():
            return {}, "warning"
        case _:  # the outcome of a request
            return {}, "info"
