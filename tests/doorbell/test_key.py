"""How long a key is valid, and whether there is a better one."""

from math import inf

import jwt
import pytest
from structlog.testing import capture_logs

from realtime_bridge.credentials.tokens import seconds_left
from realtime_bridge.doorbell.key import KeyWatch

NOON = 1_800_000_000.0


def token(**claims: object) -> str:
    return jwt.encode({"role": "tma_bridge", **claims}, "x" * 32, algorithm="HS256")


@pytest.mark.parametrize(
    ("key", "left"),
    [
        (token(exp=int(NOON) + 60), 60.0),
        (token(exp=int(NOON) - 60), -60.0),
        (token(), inf),
        (token(exp="soon"), inf),
        (token(exp=10**400), inf),
        (token(exp=[1]), inf),
        ("sb_secret_abc", inf),
        ("not.a.jwt", inf),
        ("", inf),
    ],
)
def test_a_jwt_says_when_it_expires(key: str, left: float) -> None:
    """A JWT expires at its exp; a key without a valid exp does not expire."""
    assert seconds_left(key, NOON) == left


def test_a_better_key_is_another_one_that_is_valid_longer() -> None:
    """Neither the same key nor one that expires sooner is better."""
    keys = {name: token(exp=int(NOON) + left) for name, left in (("old", 10), ("new", 3600))}
    watches = {
        name: KeyWatch(lambda key=key: key, lambda: NOON, warning=0.0)
        for name, key in (keys | {"for ever": "sb_secret_abc"}).items()
    }

    assert watches["new"].better_than(keys["old"])
    assert watches["for ever"].better_than(keys["new"])
    assert not watches["old"].better_than(keys["old"])
    assert not watches["old"].better_than(keys["new"])


def test_each_key_is_warned_about_once() -> None:
    """A key with little time left is logged once as a warning, and once as an error at the end."""
    watch = KeyWatch(str, lambda: NOON, warning=3600.0)
    short, long = token(exp=int(NOON) + 60), token(exp=int(NOON) + 3600)

    with capture_logs() as logs:
        for _ in range(3):
            watch.warn(short, last_call=False)
            watch.warn(long, last_call=False)
            watch.warn(short, last_call=True)

    assert [(line["log_level"], line["seconds_left"]) for line in logs] == [
        ("warning", 60),
        ("error", 60),
    ]
