"""What the doorbell tells others: the log, its observer, and whoever is to be woken."""

from collections.abc import Callable

import structlog

from realtime_bridge.doorbell.bells import Bell
from realtime_bridge.doorbell.faults import Fault, Reason
from realtime_bridge.doorbell.missed import CHECK, MissedRing
from realtime_bridge.doorbell.observer import DoorbellObserver
from realtime_bridge.model import Wake
from realtime_bridge.observe import ThrottledLog

log = structlog.get_logger()

# Routine: tried every minute, often in vain.
_ROUTINE = frozenset({Reason.RETRY, Reason.SLOW})
_REFUSED_HINTS = {
    Bell.CHANGES: "bridge.bells must be in the publication supabase_realtime and readable by the"
    f" key; {CHECK}",
    Bell.BROADCAST: f"the key must be allowed to read the private channel; {CHECK}",
}


class Notifier:
    """Logs at once what is new, counts repeats, and sums up when it is over.

    Whatever the observer or `wake` raises is logged: a bug of theirs must not make us deaf.
    """

    def __init__(
        self,
        wake: Callable[[Wake], None],
        observer: DoorbellObserver,
        clock: Callable[[], float],
    ) -> None:
        self.last_error: str | None = None
        self.rebuilds = 0
        self._wake = wake
        self._observer = observer
        self._log = ThrottledLog(log, by=("bell",), clock=clock)

    def wake(self, source: Wake) -> None:
        """Wake whoever looks at the tables."""
        _call(self._wake, source)

    def announced(self, bell: Bell, *, private: bool) -> None:
        """Log that the server calls a bell ready; after an outage, how long it lasted."""
        total = self._log.over("doorbell_lost", "doorbell_refused")
        lasted = {"lasted_s": round(total.seconds, 1), "tries": total.times} if total else {}
        log.info("doorbell_ready", bell=bell.value, private=private, **lasted)

    def ready(self, bell: Bell) -> None:
        """Report a bell that can be counted on."""
        _call(self._observer.ready, bell)

    def down(self, reason: Reason) -> None:
        """Report that no bell can be counted on."""
        _call(self._observer.down, reason)

    def lost(self, fault: Fault, pause: float) -> None:
        """Log why the connection is gone, and when another one is tried."""
        self.last_error = fault.text
        reason = fault.reason.value
        self._log.warning(
            "doorbell_lost", reason=reason, error=fault.text, retry_in=round(pause, 1)
        )

    def slow(self, fault: Fault) -> None:
        """Log that one of two tries failed; the other one goes on."""
        self.last_error = fault.text
        log.debug("doorbell_slow", reason=fault.reason.value, error=fault.text)

    def rebuilt(self, reason: Reason) -> None:
        """Count a connection that was given up."""
        self.rebuilds += 1
        _call(self._observer.rebuilt, reason)

    def refused(self, bell: Bell, text: str) -> None:
        """Report that the server will not ring a bell."""
        self.last_error = text
        self._log.error("doorbell_refused", bell=bell.value, error=text, hint=_REFUSED_HINTS[bell])
        _call(self._observer.refused, bell, text)

    def renewing(self, reason: Reason) -> None:
        """Log that another connection is built beside this one."""
        if reason in _ROUTINE:
            log.debug("doorbell_renewing", reason=reason.value)
        else:
            self._log.info("doorbell_renewing", reason=reason.value)

    def kept(self, reason: Reason, error: str) -> None:
        """Log that it came to nothing: this one is kept."""
        if reason in _ROUTINE:
            log.debug("doorbell_kept", reason=reason.value, error=error)
        else:
            self._log.warning("doorbell_kept", reason=reason.value, error=error)

    def silent(self, missed: MissedRing) -> None:
        """Log that a bell should have rung; it may be late, or another connection may help."""
        self._log.info("doorbell_silent", **missed.fields)

    def deaf(self, missed: MissedRing) -> None:
        """Report that another connection did not help: the bell does not count until it rings."""
        self._log.error("doorbell_deaf", **missed.fields, hint=missed.hint)
        _call(self._observer.deaf, missed.bell)

    def heard_again(self, bell: Bell) -> None:
        """Log that a deaf bell rang."""
        self._log.over("doorbell_deaf", "doorbell_silent")
        log.info("doorbell_heard_again", bell=bell.value)


def _call(listener: Callable[..., None], *args: object) -> None:
    try:
        listener(*args)
    except Exception:
        log.exception("doorbell_listener_failed")
