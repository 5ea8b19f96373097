"""The decisions alone: what is seen of a connection goes in, what to do comes out."""

import doctest
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.doorbell import journal, policy, supervisor
from realtime_bridge.doorbell.policy import (
    Action,
    Bell,
    Distrust,
    Fault,
    GiveUp,
    Keep,
    Limits,
    Reason,
    Refusal,
    Renew,
    Replace,
    Request,
    Snapshot,
    Subscription,
    decide,
    fault_of,
    first_wish,
    longest_pause,
    narrowed,
    wanted,
)
from tests.doorbell.scripted import EXPIRED, PRIVATE_ONLY, UNABLE, UNAUTHORIZED

LIMITS = Limits()
BOTH = wanted("both")
CHANGES, BROADCAST = wanted("changes"), wanted("broadcast")
NONE: frozenset[Bell] = frozenset()
WELL = Snapshot(age=60.0, wish=first_wish(BOTH), wanted=BOTH, ready=BOTH, asked=60.0)
YOUNG = Snapshot(age=1.0, wish=first_wish(BOTH), wanted=BOTH, joined=True, asked=1.0)
REQUEST = Request(Reason.TOKEN, age=0.5, pause=3.0)
DIALLING = replace(YOUNG, joined=False)
LOST = Fault(Reason.LOST, "gone")
SHUT = replace(WELL, wish=first_wish(CHANGES), ready=CHANGES, refused=BROADCAST, ask_after=60.0)
# The changes bell has not rung for a row that was claimed so long ago; or neither has.
LATE, SILENT = {Bell.CHANGES: 5.0}, dict.fromkeys(Bell, 1.5)
LONG = {Bell.CHANGES: 10.0}


@pytest.mark.parametrize("module", [policy, journal, supervisor])
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    """What the docstrings show is what the functions return."""
    result = doctest.testmod(module)

    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("view", "action"),
    [
        # On the way to being ready.
        (YOUNG, Keep()),
        (replace(YOUNG, trouble=LOST), Replace(LOST)),
        (replace(YOUNG, age=30.0), Replace(Fault(Reason.NOT_READY, "not ready after 30 s"))),
        (replace(YOUNG, ready=BROADCAST), Keep()),
        (replace(YOUNG, ready=BROADCAST, age=30.0), GiveUp(CHANGES)),
        (replace(YOUNG, ready=BROADCAST, age=30.0, refused=CHANGES), Keep()),
        # Broken.
        (WELL, Keep()),
        (replace(WELL, trouble=LOST, unheard=SILENT, better_key=True), Replace(LOST)),
        # Slow to answer.
        (DIALLING, Keep()),
        (replace(DIALLING, age=2.4), Keep()),
        (replace(DIALLING, age=2.5), Renew(Reason.SLOW)),
        (replace(DIALLING, age=2.5, renewing=True), Keep()),
        (replace(DIALLING, age=2.5, tried=1.0), Keep()),
        (replace(YOUNG, age=29.0), Keep()),
        # Deaf.
        (replace(WELL, unheard={Bell.CHANGES: 4.9}), Keep()),
        (replace(WELL, unheard=LATE), Renew(Reason.DEAF, suspect=CHANGES)),
        (replace(WELL, unheard=LATE, renewing=True), Keep()),
        (replace(WELL, unheard=LATE, deaf=CHANGES), Keep()),
        (replace(WELL, unheard=LATE, doubted=60.0), Renew(Reason.DEAF, suspect=CHANGES)),
        (replace(WELL, unheard=LATE, doubted=59.0), Keep()),
        (replace(WELL, unheard=LATE, suspect=CHANGES, doubted=60.0), Keep()),
        (replace(WELL, unheard=LONG, suspect=CHANGES, doubted=60.0), Distrust(CHANGES)),
        (replace(WELL, unheard=LONG, suspect=CHANGES, renewing=True), Keep()),
        (replace(WELL, unheard=LONG, doubted=59.0), Distrust(CHANGES)),
        (replace(WELL, unheard=LONG, doubted=60.0), Renew(Reason.DEAF, suspect=CHANGES)),
        (replace(WELL, unheard=dict.fromkeys(Bell, 1.4)), Keep()),
        (replace(WELL, unheard=SILENT), Renew(Reason.DEAF, suspect=BOTH)),
        (replace(WELL, unheard=SILENT, suspect=CHANGES), Renew(Reason.DEAF, suspect=BROADCAST)),
        (replace(WELL, unheard=SILENT, deaf=BROADCAST), Renew(Reason.DEAF, suspect=CHANGES)),
        (replace(WELL, unheard=dict.fromkeys(Bell, 10.0), doubted=12.0), Distrust(BOTH)),
        (replace(WELL, unheard=SILENT, deaf=BOTH), Keep()),
        (replace(SHUT, unheard={Bell.CHANGES: 1.5}), Renew(Reason.DEAF, suspect=CHANGES)),
        # Asked to.
        (replace(WELL, requested=REQUEST), Renew(Reason.TOKEN, everything=True)),
        (replace(WELL, requested=REQUEST, tried=1.0), Renew(Reason.TOKEN, everything=True)),
        (replace(WELL, requested=REQUEST, tried=0.4), Keep()),
        (
            replace(WELL, requested=replace(REQUEST, age=9.0), tried=3.0),
            Renew(Reason.TOKEN, everything=True),
        ),
        (replace(WELL, requested=REQUEST, renewing=True), Keep()),
        # The key.
        (replace(WELL, better_key=True), Renew(Reason.TOKEN)),
        (replace(WELL, better_key=True, renewing=True), Keep()),
        (replace(WELL, better_key=True, tried=9.0), Keep()),
        (replace(WELL, better_key=True, tried=10.0), Renew(Reason.TOKEN)),
        # Asking again.
        (replace(SHUT, asked=59.0), Keep()),
        (replace(SHUT, asked=60.0), Renew(Reason.RETRY, everything=True)),
        (replace(SHUT, asked=60.0, renewing=True), Keep()),
        (
            replace(WELL, deaf=CHANGES, asked=60.0, ask_after=60.0),
            Renew(Reason.RETRY, everything=True),
        ),
        (replace(WELL, asked=60.0), Keep()),
        (replace(WELL, age=20.0, ready=BROADCAST, asked=60.0, ask_after=5.0), Keep()),
        # Old.
        (replace(WELL, age=3599.0), Keep()),
        (replace(WELL, age=3600.0), Renew(Reason.REFRESH)),
        (replace(WELL, age=3600.0, tried=59.0), Keep()),
    ],
)
def test_the_first_line_that_holds_decides(view: Snapshot, action: Action) -> None:
    """Each line of the table in decide() leads to its action, at its threshold and not before."""
    assert decide(view, LIMITS) == action


@pytest.mark.parametrize(
    ("error", "reason", "refusal"),
    [
        ({"reason": UNAUTHORIZED}, Reason.REFUSED, Refusal.PRIVATE),
        ({"reason": PRIVATE_ONLY}, Reason.REFUSED, Refusal.PUBLIC),
        ({"reason": "ClientJoinRateLimitReached: Too many joins"}, Reason.REFUSED, None),
        ({"reason": "InvalidJWTToken: Token has expired 4 seconds ago"}, Reason.TOKEN, None),
        ({"reason": "InvalidJWTToken: Fields `role` and `exp` are required"}, Reason.TOKEN, None),
        ({"reason": "JwtSignatureError: Failed to validate JWT signature"}, Reason.TOKEN, None),
        ({"reason": "MalformedJWT: The token provided is not a valid JWT"}, Reason.TOKEN, None),
        ({"message": UNABLE, "extension": "postgres_changes"}, Reason.REFUSED, Refusal.CHANGES),
        ({"message": EXPIRED, "extension": "system"}, Reason.TOKEN, None),
        ({"message": "Too many messages", "extension": "system"}, Reason.CLOSED, None),
        ({"message": "words of the library"}, Reason.CLOSED, None),
        ({"reason": None, "message": 5}, Reason.REFUSED, None),
        ({}, Reason.CLOSED, None),
    ],
)
def test_what_the_server_says_is_understood(
    error: dict[str, Any], reason: Reason, refusal: Refusal | None
) -> None:
    """Texts recorded from a real server get the meaning that the table promises."""
    trouble = fault_of(error)

    assert (trouble.reason, trouble.refusal) == (reason, refusal)
    assert trouble.text


@pytest.mark.parametrize(
    ("trouble", "longest"),
    [
        (Fault(Reason.CONNECT, "HTTP 502"), 3.0),
        (LOST, 3.0),
        (fault_of({"reason": "InitializingProjectConnection: Realtime is initializing"}), 3.0),
        (fault_of({"reason": "ClientJoinRateLimitReached: Too many joins"}), 20.0),
        (fault_of({"reason": "InvalidJWTToken: Token has expired 4 seconds ago"}), 20.0),
        (fault_of({"reason": UNAUTHORIZED}), 20.0),
    ],
)
def test_a_server_that_says_no_is_asked_less_often(trouble: Fault, longest: float) -> None:
    """Who is away is tried every few seconds; a key, a right or a quota takes longer to mend."""
    assert longest_pause(trouble, LIMITS) == longest


@given(st.sampled_from(["both", "changes", "broadcast"]), st.lists(st.sampled_from(Refusal)))
def test_refusals_never_go_in_circles(mode: Any, refusals: list[Refusal]) -> None:
    """However a server refuses, there is soon nothing left to ask for, or a wish that is new."""
    wish: Subscription | None = first_wish(wanted(mode))
    seen = []

    for refusal in refusals:
        if wish:
            seen.append(wish)
            wish = narrowed(wish, refusal)

    assert len(seen) == len(set(seen)) <= 3
    assert wish not in seen or not refusals
    assert not wish or (wish.bells and wish.bells <= wanted(mode))


@given(
    st.builds(
        Snapshot,
        age=st.floats(0, 1e5),
        wish=st.sampled_from([first_wish(BOTH), first_wish(CHANGES), first_wish(BROADCAST)]),
        wanted=st.just(BOTH),
        ready=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        deaf=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        suspect=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        unheard=st.dictionaries(st.sampled_from(Bell), st.floats(0, 1e3)),
        doubted=st.floats(0, 1e5),
        joined=st.booleans(),
        requested=st.none()
        | st.builds(Request, st.just(Reason.AWAY), st.floats(0, 1e5), st.just(3.0)),
        better_key=st.booleans(),
        asked=st.floats(0, 1e5),
        tried=st.floats(0, 1e5),
        renewing=st.booleans(),
    ).filter(lambda view: view.ready <= view.wish.bells)
)
def test_a_working_connection_is_never_renewed_twice_at_a_time(view: Snapshot) -> None:
    """At most one successor is begun, and before anything is ready only where nothing answers."""
    action = decide(view, LIMITS)

    if isinstance(action, Renew):
        assert not view.renewing
        assert view.ready or (action.reason is Reason.SLOW and not view.joined)
    if isinstance(action, Distrust):
        assert action.bells
        assert action.bells <= view.ready - view.deaf
