"""What the doorbell decides: values in, a decision out, nothing touched."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any, Literal

Mode = Literal["both", "changes", "broadcast"]


class Bell(StrEnum):
    """The two ways in which the server can say that there is work."""

    CHANGES = "changes"  # Postgres Changes: a frame a row, from the WAL; works everywhere
    BROADCAST = "broadcast"  # sent by the table's trigger: a frame a statement, at once


class BellState(StrEnum):
    """What can be expected of one bell."""

    OFF = "off"  # not asked for
    DOWN = "down"  # not connected, or not ready yet
    READY = "ready"  # the server says that it will ring, and nothing speaks against it
    AWAY = "away"  # joined, but the database is away: nothing can ring
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
    DEAF = "deaf"  # rows were found for which nothing had rung
    SILENT = "silent"  # one bell kept silent while the other rang
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
    """How patient the doorbell is; seconds, unless a name says rows or rings."""

    reply: float = 10.0  # for the connection, and for the join (errors are held back for 5 s)
    ready: float = 30.0  # from dialling until a bell is ready (a cold server needs 3 more)
    steady: float = 5.0  # of being ready, after which the pauses between failures start anew
    look_every: float = 1.0  # between looks at what the library keeps to itself
    ping_every: float = 10.0
    pong: float = 10.0
    close: float = 1.0  # for a polite goodbye to a server that may be gone
    deaf_rows: int = 3  # found by the sweep, with no ring since
    deaf_grace: float = 2.0  # a ring may come this much later than the sweep that found the row
    silent_rings: int = 10  # of the other bell
    ring_gap: float = 1.0  # rings closer together than this count as one
    token_margin: float = 60.0  # before a key expires, look for another one
    token_warning: float = 86_400.0  # say so when a key has less left than this
    token_pause: float = 10.0  # between two tries to change to another key
    ask_again: float = 300.0  # for a bell that was refused or is deaf
    refresh: float = 3600.0  # age at which a connection is replaced


@dataclass(frozen=True, slots=True)
class Wish:
    """What one subscription asks for."""

    bells: frozenset[Bell]
    private: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong with one connection; `text` is safe to show."""

    reason: Reason
    text: str
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class View:
    """One connection as it looks at one moment."""

    age: float  # seconds since it was begun
    wish: Wish
    wanted: frozenset[Bell]  # what the user asked for; the wish may have been narrowed
    ready: frozenset[Bell] = frozenset()
    refused: frozenset[Bell] = frozenset()
    deaf: frozenset[Bell] = frozenset()
    suspect: frozenset[Bell] = frozenset()  # rebuilt for their sake, and not heard since
    silent: frozenset[Bell] = frozenset()  # while the other one rang
    trouble: Trouble | None = None
    missed_rows: int = 0
    better_key: bool = False  # the key in use expires soon, and there is another one
    asked: float = 0.0  # seconds since everything wanted was last asked for
    tried: float = inf  # seconds since a successor was last begun
    renewing: bool = False  # a successor is on its way


@dataclass(frozen=True, slots=True)
class Keep:
    """All is well, or will be."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Tear the connection down, wait, and build another."""

    trouble: Trouble


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


def first_wish(bells: frozenset[Bell]) -> Wish:
    """Ask for all of it; only the broadcast needs a private channel.

    >>> first_wish(wanted("changes")).private, first_wish(wanted("both")).private
    (False, True)
    """
    return Wish(bells, private=Bell.BROADCAST in bells)


def narrowed(wish: Wish, refusal: Refusal) -> Wish | None:
    """Return what may still be granted after a refusal; None if nothing is left to ask for.

    >>> both = first_wish(wanted("both"))
    >>> sorted(narrowed(both, Refusal.PRIVATE).bells), sorted(narrowed(both, Refusal.CHANGES).bells)
    ([<Bell.CHANGES: 'changes'>], [<Bell.BROADCAST: 'broadcast'>])
    """
    match refusal:
        case Refusal.PRIVATE if Bell.BROADCAST in wish.bells:
            left = Wish(wish.bells - {Bell.BROADCAST}, private=False)
        case Refusal.PUBLIC if not wish.private:
            left = Wish(wish.bells, private=True)
        case Refusal.CHANGES if Bell.CHANGES in wish.bells:
            left = Wish(wish.bells - {Bell.CHANGES}, private=wish.private)
        case _:
            return None
    return left if left.bells else None


def trouble_of(error: Mapping[str, Any]) -> Trouble:
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
        return Trouble(Reason.TOKEN, text)
    if "reason" in error:
        refusals = {"Unauthorized": Refusal.PRIVATE, "PrivateOnly": Refusal.PUBLIC}
        return Trouble(Reason.REFUSED, text, refusals.get(code))
    if error.get("extension") == "postgres_changes":
        return Trouble(Reason.REFUSED, text, Refusal.CHANGES)
    return Trouble(Reason.CLOSED, text)


def decide(view: View, limits: Limits) -> Action:
    """Say what to do with a connection; the first line that holds counts.

    | it is seen that | then |
    |---|---|
    | something went wrong | Replace |
    | nothing is ready in time | Replace |
    | one bell is ready and the other has not been in time | GiveUp on that one |
    | the sweep found rows that nothing rang for | Replace; the second time running Distrust |
    | one bell is silent while the other rings | Renew; the second time running Distrust |
    | the key expires soon and there is another | Renew |
    | a wanted bell is refused or deaf, and it is time to ask again | Renew, asking for all |
    | the connection is old | Renew |
    """
    if view.trouble:
        return Replace(view.trouble)
    if not view.ready:
        late = view.age >= limits.ready
        text = f"not ready after {limits.ready:g} s"
        return Replace(Trouble(Reason.NOT_READY, text)) if late else Keep()
    unanswered = view.wish.bells - view.ready - view.refused
    if unanswered and view.age >= limits.ready:
        return GiveUp(unanswered)
    return _distrust(view, limits) or _renewal(view, limits) or Keep()


def _distrust(view: View, limits: Limits) -> Action | None:
    trusted = view.ready - view.deaf
    if view.missed_rows >= limits.deaf_rows and trusted:
        if trusted <= view.suspect:
            return Distrust(trusted)
        text = f"{view.missed_rows} rows were there and nothing rang"
        return Replace(Trouble(Reason.DEAF, text))
    silent = view.silent & trusted & view.suspect
    return Distrust(silent) if silent else None


def _renewal(view: View, limits: Limits) -> Renew | None:
    if view.renewing:
        return None
    if view.better_key and view.tried >= limits.token_pause:
        return Renew(Reason.TOKEN)
    rested = view.tried >= limits.ask_again
    silent = view.silent & (view.ready - view.deaf)
    if silent and rested:
        return Renew(Reason.SILENT, suspect=silent)
    lacking = view.wanted - (view.ready - view.deaf)
    if lacking and view.asked >= limits.ask_again:
        return Renew(Reason.RETRY, everything=True)
    if view.age >= limits.refresh and rested:
        return Renew(Reason.REFRESH)
    return None
