"""The decisions alone: what is seen of a connection goes in, what to do comes out."""

import doctest
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.doorbell import policy
from realtime_bridge.doorbell.policy import (
    Action,
    Bell,
    Distrust,
    GiveUp,
    Keep,
    Limits,
    Reason,
    Refusal,
    Renew,
    Replace,
    Trouble,
    View,
    Wish,
    decide,
    first_wish,
    narrowed,
    trouble_of,
    wanted,
)
from tests.doorbell.scripted import EXPIRED, PRIVATE_ONLY, UNABLE, UNAUTHORIZED

LIMITS = Limits()
BOTH = wanted("both")
CHANGES, BROADCAST = wanted("changes"), wanted("broadcast")
NONE: frozenset[Bell] = frozenset()
WELL = View(age=60.0, wish=first_wish(BOTH), wanted=BOTH, ready=BOTH, asked=60.0)
YOUNG = View(age=1.0, wish=first_wish(BOTH), wanted=BOTH, asked=1.0)
LOST = Trouble(Reason.LOST, "gone")
SHUT = replace(WELL, wish=first_wish(CHANGES), ready=CHANGES, refused=BROADCAST)


def test_the_examples_in_the_docstrings_hold() -> None:
    """What the docstrings show is what the functions return."""
    result = doctest.testmod(policy)

    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("view", "action"),
    [
        # On the way to being ready.
        (YOUNG, Keep()),
        (replace(YOUNG, trouble=LOST), Replace(LOST)),
        (replace(YOUNG, age=30.0), Replace(Trouble(Reason.NOT_READY, "not ready after 30 s"))),
        (replace(YOUNG, ready=BROADCAST), Keep()),
        (replace(YOUNG, ready=BROADCAST, age=30.0), GiveUp(CHANGES)),
        (replace(YOUNG, ready=BROADCAST, age=30.0, refused=CHANGES), Keep()),
        # Broken.
        (WELL, Keep()),
        (replace(WELL, trouble=LOST, missed_rows=9, better_key=True), Replace(LOST)),
        # Deaf.
        (replace(WELL, missed_rows=2), Keep()),
        (
            replace(WELL, missed_rows=3),
            Replace(Trouble(Reason.DEAF, "3 rows were there and nothing rang")),
        ),
        (replace(WELL, missed_rows=3, suspect=BOTH), Distrust(BOTH)),
        (
            replace(WELL, missed_rows=3, suspect=CHANGES),
            Replace(Trouble(Reason.DEAF, "3 rows were there and nothing rang")),
        ),
        (replace(WELL, missed_rows=3, suspect=BOTH, deaf=CHANGES), Distrust(BROADCAST)),
        (replace(WELL, missed_rows=3, suspect=BOTH, deaf=BOTH), Keep()),
        # Silent.
        (replace(WELL, silent=CHANGES), Renew(Reason.SILENT, suspect=CHANGES)),
        (replace(WELL, silent=CHANGES, suspect=CHANGES), Distrust(CHANGES)),
        (replace(WELL, silent=CHANGES, deaf=CHANGES), Keep()),
        (replace(WELL, silent=CHANGES, renewing=True), Keep()),
        (replace(WELL, silent=CHANGES, tried=299.0), Keep()),
        (replace(WELL, silent=CHANGES, wish=first_wish(BROADCAST), ready=BROADCAST), Keep()),
        # The key.
        (replace(WELL, better_key=True), Renew(Reason.TOKEN)),
        (replace(WELL, better_key=True, renewing=True), Keep()),
        (replace(WELL, better_key=True, tried=9.0), Keep()),
        (replace(WELL, better_key=True, tried=10.0), Renew(Reason.TOKEN)),
        # Asking again.
        (replace(SHUT, asked=299.0), Keep()),
        (replace(SHUT, asked=300.0), Renew(Reason.RETRY, everything=True)),
        (replace(SHUT, asked=300.0, renewing=True), Keep()),
        (replace(WELL, deaf=CHANGES, asked=300.0), Renew(Reason.RETRY, everything=True)),
        (replace(WELL, asked=300.0), Keep()),
        # Old.
        (replace(WELL, age=3599.0), Keep()),
        (replace(WELL, age=3600.0), Renew(Reason.REFRESH)),
        (replace(WELL, age=3600.0, tried=299.0), Keep()),
    ],
)
def test_the_first_line_that_holds_decides(view: View, action: Action) -> None:
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
    trouble = trouble_of(error)

    assert (trouble.reason, trouble.refusal) == (reason, refusal)
    assert trouble.text


@given(st.sampled_from(["both", "changes", "broadcast"]), st.lists(st.sampled_from(Refusal)))
def test_refusals_never_go_in_circles(mode: Any, refusals: list[Refusal]) -> None:
    """However a server refuses, there is soon nothing left to ask for, or a wish that is new."""
    wish: Wish | None = first_wish(wanted(mode))
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
        View,
        age=st.floats(0, 1e5),
        wish=st.sampled_from([first_wish(BOTH), first_wish(CHANGES), first_wish(BROADCAST)]),
        wanted=st.just(BOTH),
        ready=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        deaf=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        suspect=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        silent=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        missed_rows=st.integers(0, 10),
        better_key=st.booleans(),
        asked=st.floats(0, 1e5),
        tried=st.floats(0, 1e5),
        renewing=st.booleans(),
    ).filter(lambda view: view.ready <= view.wish.bells)
)
def test_a_working_connection_is_never_renewed_twice_at_a_time(view: View) -> None:
    """At most one successor is begun, never for a connection that is not ready itself."""
    action = decide(view, LIMITS)

    if isinstance(action, Renew):
        assert not view.renewing
        assert view.ready
    if isinstance(action, Distrust):
        assert action.bells
        assert action.bells <= view.ready - view.deaf
