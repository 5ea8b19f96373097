"""What to do with a connection: a snapshot in, an action out, nothing touched."""

from dataclasses import dataclass

from realtime_bridge.doorbell.bells import Bell
from realtime_bridge.doorbell.faults import Fault, Reason
from realtime_bridge.doorbell.snapshot import Snapshot
from realtime_bridge.doorbell.timing import Timing


@dataclass(frozen=True, slots=True)
class Keep:
    """Change nothing."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Close the connection, pause, and build another."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Renew:
    """Build a successor beside the connection, which is closed once that one is ready.

    `everything`: ask for all that is wanted, including what was refused. `suspect`: the silent
    bells for which this is done.
    """

    reason: Reason
    everything: bool = False
    suspect: frozenset[Bell] = frozenset()


@dataclass(frozen=True, slots=True)
class Distrust:
    """Renewing did not help: do not count on these bells until they ring."""

    bells: frozenset[Bell]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The server never replied for these bells: go on with the other one."""

    bells: frozenset[Bell]


Action = Keep | Replace | Renew | Distrust | GiveUp


def decide(seen: Snapshot, timing: Timing) -> Action:
    """Decide what to do with a connection; the first line that holds counts.

    | seen | then |
    |---|---|
    | a fault | Replace |
    | no bell ready in time | Replace |
    | no quick reply to the join | Renew: another connection may be faster |
    | one bell ready, the other not in time | GiveUp on that one |
    | a row was claimed, and a bell has not rung since its insert | Renew |
    | the same again, soon after that, for longer | Distrust |
    | a new connection was requested | Renew, asking for everything |
    | the key expires soon and there is another | Renew |
    | a wanted bell is refused or deaf, and it is time to ask again | Renew, asking for everything |
    | the connection is old | Renew |
    """
    if seen.fault:
        return Replace(seen.fault)
    if not seen.ready:
        return _before_ready(seen, timing)
    unanswered = _unanswered(seen)
    if unanswered and seen.age >= timing.ready_timeout:
        return GiveUp(unanswered)
    if seen.renewing:
        return Keep()
    return _on_silence(seen, timing) or _on_schedule(seen, timing) or Keep()


def _unanswered(seen: Snapshot) -> frozenset[Bell]:
    """Return the bells that were asked for, and that the server has neither granted nor refused."""
    return seen.subscription.bells - seen.ready - seen.refused


def _before_ready(seen: Snapshot, timing: Timing) -> Action:
    if seen.age >= timing.ready_timeout:
        return Replace(Fault(Reason.NOT_READY, f"not ready after {timing.ready_timeout:g} s"))
    slow = not seen.joined and min(seen.age, seen.since_renewal) >= timing.hedge_after
    return Renew(Reason.SLOW) if slow and not seen.renewing else Keep()


def _on_silence(seen: Snapshot, timing: Timing) -> Action | None:
    """Judge bells that should have rung.

    Silence of all bells delays rows, so it is acted on sooner than silence of one, which may just
    be late. One renewal for silence a minute is cheap: after that it may be tried again.
    """
    silent = {bell: seen.silent[bell] for bell in seen.trusted & seen.silent.keys()}
    affordable = seen.since_silence >= timing.longest_retry
    renewed = seen.suspect if affordable else frozenset(silent)
    deaf = frozenset(b for b, s in silent.items() if s >= timing.deaf_after and b in renewed)
    if deaf:
        return Distrust(deaf)
    all_silent = silent.keys() == seen.trusted
    patience = timing.all_silent_after if all_silent else timing.one_silent_after
    missed = frozenset(b for b, s in silent.items() if s >= patience and b not in renewed)
    return Renew(Reason.DEAF, suspect=missed) if missed else None


def _on_schedule(seen: Snapshot, timing: Timing) -> Renew | None:
    request = seen.requested
    if request and (seen.since_renewal > request.age or seen.since_renewal >= request.pause):
        return Renew(request.reason, everything=True)
    if seen.better_key and seen.since_renewal >= timing.token_pause:
        return Renew(Reason.TOKEN)
    missing = seen.wanted - seen.trusted - _unanswered(seen)
    if missing and seen.since_full >= seen.retry_after:
        return Renew(Reason.RETRY, everything=True)
    if seen.age >= timing.refresh_after and seen.since_renewal >= timing.longest_retry:
        return Renew(Reason.REFRESH)
    return None
