"""What the doorbell decides: values in, a decision out, nothing touched."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, Literal

Mode = Literal["both", "changes", "broadcast"]


class Bell(StrEnum):
    """The two ways in which the server can say that there is work."""

    CHANGES = "changes"  # Postgres Changes of bridge.bells, read from the WAL; works everywhere
    BROADCAST = "broadcast"  # sent by the same trigger at the same time, and there at once


class BellState(StrEnum):
    """What can be expected of one bell."""

    OFF = "off"  # not asked for
    DOWN = "down"  # not connected, or not ready yet
    READY = "ready"  # the server says that it will ring, and nothing speaks against it
    AWAY = "away"  # the server says so, but the database that it listens to is or was away
    DEAF = "deaf"  # the server says so, but it kept silent twice; until it rings it does not count
    REFUSED = "refused"  # the server will not ring this one; it is asked again from time to time


class Reason(StrEnum):
    """Why a client was thrown away and built anew; a small fixed set, for metrics."""

    CONNECT = "connect"  # no connection: network, HTTP status, timeout
    TOKEN = "token"  # the key was refused, has expired or is about to  # noqa: S105 - a label
    REFUSED = "refused"  # the server refused the subscription or a part of it
    NOT_READY = "not_ready"  # no reply, or none that makes a bell ready, in time
    LOST = "lost"  # the connection broke or was closed
    CLOSED = "closed"  # the channel was closed while the connection stayed
    FROZEN = "frozen"  # a ping was not answered
    STUCK = "stuck"  # the library stopped reading or beating while the connection stayed
    DEAF = "deaf"  # rows were claimed for which a bell had not rung
    AWAY = "away"  # the database was away: what listens to it for us may have given up
    SLOW = "slow"  # no answer yet: perhaps another connection gets one sooner
    RETRY = "retry"  # time to ask again for a bell that was refused or deaf
    REFRESH = "refresh"  # old enough: an idle connection may have gone deaf unnoticed
    INTERNAL = "internal"  # a bug of ours


class Refusal(StrEnum):
    """Which part of a subscription the server does not grant."""

    PRIVATE = "private"  # this key may not read the private channel
    PUBLIC = "public"  # the project allows private channels only
    CHANGES = "changes"  # no Postgres Changes with these parameters


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient the doorbell is, in seconds."""

    reply: float = 10.0  # for the connection, and for the join (errors are held back for 5 s)
    ready: float = 30.0  # from dialling until a bell is ready (a cold server needs 3 more)
    hedge: float = 2.5  # for the reply to the join, before another connection is tried as well
    steady: float = 5.0  # of being ready, after which the pauses between failures start anew
    longest_pause: float = 3.0  # between two tries while the server is away
    refused_pause: float = 20.0  # the same where the server is there and says no
    look_every: float = 1.0  # between looks at what the library keeps to itself
    nap: float = 0.5  # a look that comes so much too late: we slept, and rings wait to be read
    ping_every: float = 10.0
    pong: float = 10.0
    close: float = 1.0  # for a polite goodbye to a server that may be gone
    skew: float = 5.0  # a row may say that it is so much younger than it is (a clock that was set)
    patience: float = 1.5  # after its claim a row's ring may still come (changes are polled)
    late: float = 5.0  # the same for one bell, while another one rings
    deaf_after: float = 10.0  # a bell that was renewed for its silence gets this long
    token_margin: float = 60.0  # before a key expires, look for another one
    token_warning: float = 86_400.0  # say so when a key has less left than this
    token_pause: float = 10.0  # between two tries to change to another key
    ask_first: float = 5.0  # before a refused bell is asked for again; then twice as long, ...
    ask_again: float = 60.0  # ... but never longer than this
    back: float = 5.0  # after the database came back, for the server to find it again
    away_long: float = 60.0  # without a database the server gives up listening after about 80
    refresh: float = 3600.0  # age at which a connection is replaced


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one subscription asks for."""

    bells: frozenset[Bell]
    private: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong with one connection; `text` is safe to show."""

    reason: Reason
    text: str
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody asked for a connection newer than this one."""

    reason: Reason
    age: float  # seconds
    pause: float  # between two tries


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One connection as it looks at one moment."""

    age: float  # seconds since it was begun
    wish: Subscription
    wanted: frozenset[Bell]  # what the user asked for; the wish may have been narrowed
    joined: bool = False  # the server has answered
    ready: frozenset[Bell] = frozenset()
    refused: frozenset[Bell] = frozenset()
    deaf: frozenset[Bell] = frozenset()
    unheard: Mapping[Bell, float] = field(default_factory=dict)  # seconds since the claim of a row
    suspect: frozenset[Bell] = frozenset()  # were renewed for this silence, and are silent still
    doubted: float = inf  # seconds since a successor was last begun because of silence
    trouble: Fault | None = None
    better_key: bool = False  # the key in use expires soon, and there is another one
    requested: Request | None = None
    asked: float = 0.0  # seconds since everything wanted was last asked for
    ask_after: float = inf  # seconds after which to do so again
    tried: float = inf  # seconds since a successor was last begun
    renewing: bool = False  # a successor is on its way

    @property
    def trusted(self) -> frozenset[Bell]:
        """The bells that count."""
        return self.ready - self.deaf


@dataclass(frozen=True, slots=True)
class Keep:
    """All is well, or will be."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Tear the connection down, wait, and build another."""

    trouble: Fault


@dataclass(frozen=True, slots=True)
class Renew:
    """Build another beside it, and let go of this one when that one is ready.

    `everything`: ask for all that is wanted, also for what was refused. `suspect`: the bells
    that this is done for.
    """

    reason: Reason
    everything: bool = False
    suspect: frozenset[Bell] = frozenset()


@dataclass(frozen=True, slots=True)
class Distrust:
    """Building anew did not help: do not count on these bells until they ring."""

    bells: frozenset[Bell]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The server never answered for these bells: go on with the other one."""

    bells: frozenset[Bell]


Action = Keep | Replace | Renew | Distrust | GiveUp


def wanted(mode: Mode) -> frozenset[Bell]:
    """Return the bells of a mode."""
    return frozenset(Bell) if mode == "both" else frozenset({Bell(mode)})


def first_wish(bells: frozenset[Bell]) -> Subscription:
    """Ask for all of it; only the broadcast needs a private channel.

    >>> first_wish(wanted("changes")).private, first_wish(wanted("both")).private
    (False, True)
    """
    return Subscription(bells, private=Bell.BROADCAST in bells)


def narrowed(wish: Subscription, refusal: Refusal) -> Subscription | None:
    """Return what may still be granted after a refusal; None if nothing is left to ask for.

    >>> both = first_wish(wanted("both"))
    >>> sorted(narrowed(both, Refusal.PRIVATE).bells), sorted(narrowed(both, Refusal.CHANGES).bells)
    ([<Bell.CHANGES: 'changes'>], [<Bell.BROADCAST: 'broadcast'>])
    """
    match refusal:
        case Refusal.PRIVATE if Bell.BROADCAST in wish.bells:
            left = Subscription(wish.bells - {Bell.BROADCAST}, private=False)
        case Refusal.PUBLIC if not wish.private:
            left = Subscription(wish.bells, private=True)
        case Refusal.CHANGES if Bell.CHANGES in wish.bells:
            left = Subscription(wish.bells - {Bell.CHANGES}, private=wish.private)
        case _:
            return None
    return left if left.bells else None


def fault_of(error: Mapping[str, Any]) -> Fault:
    """Say what an error of the server means.

    | payload | means |
    |---|---|
    | names a JWT, or an expired token | TOKEN |
    | join refused, `Unauthorized: ...` | REFUSED, private channel |
    | join refused, `PrivateOnly: ...` | REFUSED, public channel |
    | join refused otherwise (limits, starting, switched off) | REFUSED, ask the same again later |
    | system message of `postgres_changes` | REFUSED, changes |
    | any other (a limit was passed, the channel crashed) | CLOSED |
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


def longest_pause(trouble: Fault, limits: Limits) -> float:
    """Say how long the pause after this trouble may grow.

    A server that is away is tried often: to find it the moment it is back costs little. One that
    is there and says no is not: what helps is a key, a right or a quota, and those who change
    them can tell (see Doorbell.renew).
    """
    limited = "RateLimitReached" in trouble.text
    no = trouble.reason is Reason.TOKEN or trouble.refusal is not None or limited
    return limits.refused_pause if no else limits.longest_pause


def decide(view: Snapshot, limits: Limits) -> Action:
    """Say what to do with a connection; the first line that holds counts.

    | it is seen that | then |
    |---|---|
    | something went wrong | Replace |
    | nothing is ready in time | Replace |
    | the join is not answered soon | Renew: perhaps another connection is quicker |
    | one bell is ready and the other has not been in time | GiveUp on that one |
    | a row was claimed, and a bell has not rung since its insert | Renew |
    | the same again, soon after that, for longer | Distrust |
    | somebody asked for a new connection | Renew, asking for all |
    | the key expires soon and there is another | Renew |
    | a wanted bell is refused or deaf, and it is time to ask again | Renew, asking for all |
    | the connection is old | Renew |
    """
    if view.trouble:
        return Replace(view.trouble)
    if not view.ready:
        return _unready(view, limits)
    unanswered = view.wish.bells - view.ready - view.refused
    if unanswered and view.age >= limits.ready:
        return GiveUp(unanswered)
    if view.renewing:
        return Keep()
    return _deafness(view, limits) or _renewal(view, limits) or Keep()


def _unready(view: Snapshot, limits: Limits) -> Action:
    if view.age >= limits.ready:
        return Replace(Fault(Reason.NOT_READY, f"not ready after {limits.ready:g} s"))
    slow = not view.joined and min(view.age, view.tried) >= limits.hedge
    return Renew(Reason.SLOW) if slow and not view.renewing else Keep()


def _deafness(view: Snapshot, limits: Limits) -> Action | None:
    """Judge bells that should have rung.

    Silence of all bells delays rows, and is believed sooner than that of one bell, which may just
    be late. A renewal that is a minute old has been paid off: it may be tried again.
    """
    silent = {bell: view.unheard[bell] for bell in view.trusted & view.unheard.keys()}
    renewed = view.suspect if view.doubted >= limits.ask_again else frozenset(silent)
    deaf = frozenset(b for b, s in silent.items() if s >= limits.deaf_after and b in renewed)
    if deaf:
        return Distrust(deaf)
    patience = limits.patience if silent.keys() == view.trusted else limits.late
    missed = frozenset(b for b, s in silent.items() if s >= patience and b not in renewed)
    return Renew(Reason.DEAF, suspect=missed) if missed else None


def _renewal(view: Snapshot, limits: Limits) -> Renew | None:
    request = view.requested
    if request and (view.tried > request.age or view.tried >= request.pause):
        return Renew(request.reason, everything=True)
    if view.better_key and view.tried >= limits.token_pause:
        return Renew(Reason.TOKEN)
    on_its_way = view.wish.bells - view.ready - view.refused
    if view.wanted - view.trusted - on_its_way and view.asked >= view.ask_after:
        return Renew(Reason.RETRY, everything=True)
    if view.age >= limits.refresh and view.tried >= limits.ask_again:
        return Renew(Reason.REFRESH)
    return None
