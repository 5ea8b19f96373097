"""What the doorbell writes into the log: all of its lines about bells and connections, here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import structlog

from realtime_bridge.doorbell.policy import Bell, Fault, Reason
from realtime_bridge.observe import Repeats

log = structlog.get_logger()

# What is asked every minute, and again and again in vain.
_NOBODYS_NEWS = frozenset({Reason.RETRY, Reason.SLOW})
CHECK = "`realtime-bridge check` tells the parts apart"
REFUSED_HINTS = {
    Bell.CHANGES: "bridge.bells must be in the publication supabase_realtime and readable by the"
    f" key; {CHECK}",
    Bell.BROADCAST: f"the key must be allowed to read the private channel; {CHECK}",
}


@dataclass(frozen=True, slots=True)
class Missed:
    """What was seen of a bell that should have rung; seconds, rounded for the log."""

    bell: Bell
    table: str
    rows: int  # claimed without a ring since their insert
    first_row: float  # inserted so long ago
    last_ring: float | None  # so long ago, for this table; None: never
    elsewhere: bool  # it rang for another table meanwhile
    other: bool | None  # whether the other bell rang for these rows; None: it is not there


def deaf_hint(missed: Missed) -> str:
    """Say what the silence of a bell points at.

    >>> print(deaf_hint(Missed(Bell.CHANGES, "t", 1, 9.0, None, False, True)))
    the other bell rang for these rows, so the inserts are noticed: Realtime does not pass on \
bridge.bells; `realtime-bridge check` tells the parts apart
    """
    if missed.elsewhere:
        seen = f"it rang for another table meanwhile: look at the trigger of {missed.table}"
    elif not missed.other:
        seen = f"look at the trigger of {missed.table}, and at Realtime itself"
    else:
        match missed.bell:
            case Bell.CHANGES:
                fault = "Realtime does not pass on bridge.bells"
            case Bell.BROADCAST:
                fault = "realtime.send fails, or Realtime does not pass on its messages"
            case _:
                assert_never(missed.bell)
        seen = f"the other bell rang for these rows, so the inserts are noticed: {fault}"
    return f"{seen}; {CHECK}"


class Journal:
    """Writes each kind of line at once, counts its like, and sums up when it is over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._log = Repeats(structlog.get_logger(), by=("bell",), clock=clock)

    def ready(self, bell: Bell, *, private: bool) -> None:
        """Write that a bell is ready; after an outage, how long it lasted."""
        total = self._log.over("doorbell_lost", "doorbell_refused")
        lasted = {"lasted_s": round(total.seconds, 1), "tries": total.times} if total else {}
        log.info("doorbell_ready", bell=bell.value, private=private, **lasted)

    def lost(self, trouble: Fault, pause: float) -> None:
        """Write why the connection is gone, and when another is tried."""
        reason = trouble.reason.value
        self._log.warning(
            "doorbell_lost", reason=reason, error=trouble.text, retry_in=round(pause, 1)
        )

    def slow(self, trouble: Fault) -> None:
        """Write that one of two tries failed; the other one goes on."""
        log.debug("doorbell_slow", reason=trouble.reason.value, error=trouble.text)

    def refused(self, bell: Bell, text: str) -> None:
        """Write that the server will not ring a bell."""
        self._log.error("doorbell_refused", bell=bell.value, error=text, hint=REFUSED_HINTS[bell])

    def renewing(self, reason: Reason) -> None:
        """Write that another connection is built beside this one."""
        if reason in _NOBODYS_NEWS:
            log.debug("doorbell_renewing", reason=reason.value)
        else:
            self._log.info("doorbell_renewing", reason=reason.value)

    def kept(self, reason: Reason, error: str) -> None:
        """Write that it came to nothing: this one is kept."""
        if reason in _NOBODYS_NEWS:
            log.debug("doorbell_kept", reason=reason.value, error=error)
        else:
            self._log.warning("doorbell_kept", reason=reason.value, error=error)

    def silent(self, missed: Missed) -> None:
        """Write that a bell should have rung; it may be late, or another connection may help."""
        self._log.info("doorbell_silent", **_seen(missed))

    def deaf(self, missed: Missed) -> None:
        """Write that another connection did not help: a bell does not count until it rings."""
        self._log.error("doorbell_deaf", **_seen(missed), hint=deaf_hint(missed))

    def heard_again(self, bell: Bell) -> None:
        """Write that a deaf bell rang."""
        self._log.over("doorbell_deaf", "doorbell_silent")
        log.info("doorbell_heard_again", bell=bell.value)


def _seen(missed: Missed) -> dict[str, object]:
    last = missed.last_ring
    return {
        "bell": missed.bell.value,
        "table": missed.table,
        "rows": missed.rows,
        "first_row_s_ago": round(missed.first_row, 1),
        "last_ring_s_ago": None if last is None else round(last, 1),
        "other_bell": {True: "rang", False: "silent", None: "not there"}[missed.other],
    }
