"""The policy alone: a snapshot of a connection goes in, an action comes out."""

import doctest
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.doorbell import backoff, missed, subscription
from realtime_bridge.doorbell.bells import Bell, wanted
from realtime_bridge.doorbell.faults import Fault, Reason, Refusal, fault_of, longest_pause
from realtime_bridge.doorbell.policy import (
    Action,
    Distrust,
    GiveUp,
    Keep,
    Renew,
    Replace,
    decide,
)
from realtime_bridge.doorbell.snapshot import RenewalRequest, Snapshot
from realtime_bridge.doorbell.subscription import Subscription
from realtime_bridge.doorbell.timing import Timing
from tests.doorbell.scripted_server import EXPIRED, PRIVATE_ONLY, UNABLE, UNAUTHORIZED

TIMING = Timing()
BOTH = wanted("both")
CHANGES, BROADCAST = wanted("changes"), wanted("broadcast")
NONE: frozenset[Bell] = frozenset()
WELL = Snapshot(
    age=60.0, subscription=Subscription.to(BOTH), wanted=BOTH, ready=BOTH, since_full=60.0
)
YOUNG = Snapshot(
    age=1.0, subscription=Subscription.to(BOTH), wanted=BOTH, joined=True, since_full=1.0
)
REQUEST = RenewalRequest(Reason.TOKEN, age=0.5, pause=3.0)
DIALLING = replace(YOUNG, joined=False)
LOST = Fault(Reason.LOST, "gone")
SHUT = replace(
    WELL, subscription=Subscription.to(CHANGES), ready=CHANGES, refused=BROADCAST, retry_after=60.0
)
# The changes bell has not rung for a row that was claimed so long ago; or neither has.
LATE, SILENT = {Bell.CHANGES: 5.0}, dict.fromkeys(Bell, 1.5)
LONG = {Bell.CHANGES: 10.0}


@pytest.mark.parametrize("module", [backoff, missed, subscription])
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    """The examples in the docstrings are true."""
    result = doctest.testmod(module)

    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        # On the way to being ready.
        (YOUNG, Keep()),
        (replace(YOUNG, fault=LOST), Replace(LOST)),
        (replace(YOUNG, age=30.0), Replace(Fault(Reason.NOT_READY, "not ready after 30 s"))),
        (replace(YOUNG, ready=BROADCAST), Keep()),
        (replace(YOUNG, ready=BROADCAST, age=30.0), GiveUp(CHANGES)),
        (replace(YOUNG, ready=BROADCAST, age=30.0, refused=CHANGES), Keep()),
        # Broken.
        (WELL, Keep()),
        (replace(WELL, fault=LOST, silent=SILENT, better_key=True), Replace(LOST)),
        # Slow to answer.
        (DIALLING, Keep()),
        (replace(DIALLING, age=2.4), Keep()),
        (replace(DIALLING, age=2.5), Renew(Reason.SLOW)),
        (replace(DIALLING, age=2.5, renewing=True), Keep()),
        (replace(DIALLING, age=2.5, since_renewal=1.0), Keep()),
        (replace(YOUNG, age=29.0), Keep()),
        # Deaf.
        (replace(WELL, silent={Bell.CHANGES: 4.9}), Keep()),
        (replace(WELL, silent=LATE), Renew(Reason.DEAF, suspect=CHANGES)),
        (replace(WELL, silent=LATE, renewing=True), Keep()),
        (replace(WELL, silent=LATE, deaf=CHANGES), Keep()),
        (replace(WELL, silent=LATE, since_silence=60.0), Renew(Reason.DEAF, suspect=CHANGES)),
        (replace(WELL, silent=LATE, since_silence=59.0), Keep()),
        (replace(WELL, silent=LATE, suspect=CHANGES, since_silence=60.0), Keep()),
        (replace(WELL, silent=LONG, suspect=CHANGES, since_silence=60.0), Distrust(CHANGES)),
        (replace(WELL, silent=LONG, suspect=CHANGES, renewing=True), Keep()),
        (replace(WELL, silent=LONG, since_silence=59.0), Distrust(CHANGES)),
        (replace(WELL, silent=LONG, since_silence=60.0), Renew(Reason.DEAF, suspect=CHANGES)),
        (replace(WELL, silent=dict.fromkeys(Bell, 1.4)), Keep()),
        (replace(WELL, silent=SILENT), Renew(Reason.DEAF, suspect=BOTH)),
        (replace(WELL, silent=SILENT, suspect=CHANGES), Renew(Reason.DEAF, suspect=BROADCAST)),
        (replace(WELL, silent=SILENT, deaf=BROADCAST), Renew(Reason.DEAF, suspect=CHANGES)),
        (replace(WELL, silent=dict.fromkeys(Bell, 10.0), since_silence=12.0), Distrust(BOTH)),
        (replace(WELL, silent=SILENT, deaf=BOTH), Keep()),
        (replace(SHUT, silent={Bell.CHANGES: 1.5}), Renew(Reason.DEAF, suspect=CHANGES)),
        # Asked to.
        (replace(WELL, requested=REQUEST), Renew(Reason.TOKEN, everything=True)),
        (replace(WELL, requested=REQUEST, since_renewal=1.0), Renew(Reason.TOKEN, everything=True)),
        (replace(WELL, requested=REQUEST, since_renewal=0.4), Keep()),
        (
            replace(WELL, requested=replace(REQUEST, age=9.0), since_renewal=3.0),
            Renew(Reason.TOKEN, everything=True),
        ),
        (replace(WELL, requested=REQUEST, renewing=True), Keep()),
        # The key.
        (replace(WELL, better_key=True), Renew(Reason.TOKEN)),
        (replace(WELL, better_key=True, renewing=True), Keep()),
        (replace(WELL, better_key=True, since_renewal=9.0), Keep()),
        (replace(WELL, better_key=True, since_renewal=10.0), Renew(Reason.TOKEN)),
        # Asking again.
        (replace(SHUT, since_full=59.0), Keep()),
        (replace(SHUT, since_full=60.0), Renew(Reason.RETRY, everything=True)),
        (replace(SHUT, since_full=60.0, renewing=True), Keep()),
        (
            replace(WELL, deaf=CHANGES, since_full=60.0, retry_after=60.0),
            Renew(Reason.RETRY, everything=True),
        ),
        (replace(WELL, since_full=60.0), Keep()),
        (replace(WELL, age=20.0, ready=BROADCAST, since_full=60.0, retry_after=5.0), Keep()),
        # Old.
        (replace(WELL, age=3599.0), Keep()),
        (replace(WELL, age=3600.0), Renew(Reason.REFRESH)),
        (replace(WELL, age=3600.0, since_renewal=59.0), Keep()),
    ],
)
def test_the_first_line_that_holds_decides(seen: Snapshot, action: Action) -> None:
    """Each line of the table in decide() leads to its action at its threshold, not before."""
    assert decide(seen, TIMING) == action


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
def test_the_servers_errors_are_classified(
    error: dict[str, Any], reason: Reason, refusal: Refusal | None
) -> None:
    """Errors recorded from a real server are classified as the table says."""
    fault = fault_of(error)

    assert (fault.reason, fault.refusal) == (reason, refusal)
    assert fault.text


@pytest.mark.parametrize(
    ("fault", "longest"),
    [
        (Fault(Reason.CONNECT, "HTTP 502"), 3.0),
        (LOST, 3.0),
        (fault_of({"reason": "InitializingProjectConnection: Realtime is initializing"}), 3.0),
        (fault_of({"reason": "ClientJoinRateLimitReached: Too many joins"}), 20.0),
        (fault_of({"reason": "InvalidJWTToken: Token has expired 4 seconds ago"}), 20.0),
        (fault_of({"reason": UNAUTHORIZED}), 20.0),
    ],
)
def test_a_server_that_says_no_is_asked_less_often(fault: Fault, longest: float) -> None:
    """An absent server is tried every few seconds; a key, right or quota takes longer to fix."""
    assert longest_pause(fault, TIMING) == longest


@given(st.sampled_from(["both", "changes", "broadcast"]), st.lists(st.sampled_from(Refusal)))
def test_refusals_never_go_in_circles(mode: Any, refusals: list[Refusal]) -> None:
    """However a server refuses, no subscription is tried twice."""
    current: Subscription | None = Subscription.to(wanted(mode))
    seen = []

    for refusal in refusals:
        if current:
            seen.append(current)
            current = current.without(refusal)

    assert len(seen) == len(set(seen)) <= 3
    assert current not in seen or not refusals
    assert not current or (current.bells and current.bells <= wanted(mode))


@given(
    st.builds(
        Snapshot,
        age=st.floats(0, 1e5),
        subscription=st.sampled_from(
            [Subscription.to(BOTH), Subscription.to(CHANGES), Subscription.to(BROADCAST)]
        ),
        wanted=st.just(BOTH),
        ready=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        deaf=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        suspect=st.sampled_from([NONE, CHANGES, BROADCAST, BOTH]),
        silent=st.dictionaries(st.sampled_from(Bell), st.floats(0, 1e3)),
        since_silence=st.floats(0, 1e5),
        joined=st.booleans(),
        requested=st.none()
        | st.builds(RenewalRequest, st.just(Reason.AWAY), st.floats(0, 1e5), st.just(3.0)),
        better_key=st.booleans(),
        since_full=st.floats(0, 1e5),
        since_renewal=st.floats(0, 1e5),
        renewing=st.booleans(),
    ).filter(lambda seen: seen.ready <= seen.subscription.bells)
)
def test_a_working_connection_is_never_renewed_twice_at_a_time(seen: Snapshot) -> None:
    """At most one successor is begun, and before a bell is ready only if the server is silent."""
    action = decide(seen, TIMING)

    if isinstance(action, Renew):
        assert not seen.renewing
        assert seen.ready or (action.reason is Reason.SLOW and not seen.joined)
    if isinstance(action, Distrust):
        assert action.bells
        assert action.bells <= seen.ready - seen.deaf
