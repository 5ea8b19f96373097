"""What can go wrong with a connection, and what the server's errors mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from realtime_bridge.doorbell.timing import Timing


class Reason(StrEnum):
    """Why a connection was replaced; a small fixed set, for metrics."""

    CONNECT = "connect"  # no connection: network, HTTP status, timeout
    TOKEN = "token"  # the key was refused, has expired or is about to  # noqa: S105 - a label
    REFUSED = "refused"  # the server refused the subscription or a part of it
    NOT_READY = "not_ready"  # no reply in time, or none that makes a bell ready
    LOST = "lost"  # the connection broke or was closed
    CLOSED = "closed"  # the channel was closed while the connection stayed open
    FROZEN = "frozen"  # a ping was not answered
    STUCK = "stuck"  # the library stopped reading or beating while the connection stayed open
    DEAF = "deaf"  # rows were claimed that a bell had not rung for
    AWAY = "away"  # the database was away: the server may have stopped listening to it
    SLOW = "slow"  # no reply yet: a second connection may be faster
    RETRY = "retry"  # time to ask again for a bell that was refused or is deaf
    REFRESH = "refresh"  # old: an idle connection may have gone deaf unnoticed
    INTERNAL = "internal"  # a bug of ours


class Refusal(StrEnum):
    """Which part of a subscription the server does not grant."""

    PRIVATE = "private"  # this key may not read the private channel
    PUBLIC = "public"  # the project allows private channels only
    CHANGES = "changes"  # no Postgres Changes with these parameters


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong with a connection; `text` is safe to show."""

    reason: Reason
    text: str
    refusal: Refusal | None = None


def fault_of(error: Mapping[str, Any]) -> Fault:
    """Classify an error that the server sent on the channel.

    | payload | fault |
    |---|---|
    | names a JWT, or an expired token | TOKEN |
    | join refused, `Unauthorized: ...` | REFUSED, private channel |
    | join refused, `PrivateOnly: ...` | REFUSED, public channel |
    | join refused otherwise (limits, starting, switched off) | REFUSED, ask the same again later |
    | system message of `postgres_changes` | REFUSED, changes |
    | any other (over a limit, the channel crashed) | CLOSED |
    """
    text = str(error.get("reason") or error.get("message") or "the channel failed")
    code = text.split(":", 1)[0]
    if "jwt" in code.lower() or text.startswith("Token has expired"):
        return Fault(Reason.TOKEN, text)
    if "reason" in error:
        refusals = {"Unauthorized": Refusal.PRIVATE, "PrivateOnly": Refusal.PUBLIC}
        return Fault(Reason.REFUSED, text, refusals.get(code))
    if error.get("extension") == "postgres_changes":
        return Fault(Reason.REFUSED, text, Refusal.CHANGES)
    return Fault(Reason.CLOSED, text)


def longest_pause(fault: Fault, timing: Timing) -> float:
    """Return the seconds up to which the pause after this fault may grow.

    A server that is away is tried often: finding it the moment it is back costs little. One that
    is there and says no needs another key, right or quota, and takes longer to fix; whoever fixes
    it can say so (see Doorbell.renew).
    """
    rate_limited = "RateLimitReached" in fault.text
    said_no = fault.reason is Reason.TOKEN or fault.refusal is not None or rate_limited
    return timing.refused_pause if said_no else timing.longest_pause
