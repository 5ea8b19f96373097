"""What the doorbell asks the server for, and with which keys."""

from collections.abc import Callable

import pytest

from realtime_bridge.doorbell import Bell
from tests.doorbell.harness import KEY, DoorbellHarness, until
from tests.doorbell.scripted_server import ScriptedRealtime

Start = Callable[..., DoorbellHarness]
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoidG1hX2JyaWRnZSJ9.c2lnbmF0dXJl"


async def test_the_subscription_is_one_private_channel(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """Both bells are asked for in one join, with the frame recorded from a real server."""
    harness = start_doorbell(tables=["tma_events", "plan_requests"], key=JWT)
    await harness.ready()

    assert server.channel.topic == "realtime:tma_bell"
    assert server.channel.payload == {
        "config": {
            "broadcast": {"ack": False, "self": False},
            "presence": {"key": "", "enabled": False},
            "private": True,
            "postgres_changes": [
                {
                    "event": "INSERT",
                    "schema": "bridge",
                    "table": "bells",
                    "select": ["table_name"],
                }
            ],
        },
        "access_token": JWT,
    }


async def test_every_table_rings(server: ScriptedRealtime, start_doorbell: Start) -> None:
    """A row of the second table rings as well."""
    harness = start_doorbell(tables=["tma_events", "plan_requests"])
    await harness.ready()

    await server.channel.change("plan_requests")

    await until(lambda: harness.rings[-1] == "changes")


@pytest.mark.parametrize(
    ("mode", "asked", "other"),
    [("changes", (False, 1), Bell.BROADCAST), ("broadcast", (True, 0), Bell.CHANGES)],
)
async def test_a_mode_asks_for_one_bell_only(
    server: ScriptedRealtime, start_doorbell: Start, mode: str, asked: tuple[bool, int], other: Bell
) -> None:
    """In a mode with one bell the other is off, and only broadcasts need a private channel."""
    harness = start_doorbell(mode=mode)
    await harness.ready(Bell(mode))

    assert (server.channel.private, len(server.channel.bindings)) == asked
    assert harness.state(other) == "off"


async def test_a_key_that_is_not_a_jwt_is_not_sent_as_a_token(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """An sb_secret_ key opens the connection and is not repeated in the join."""
    harness = start_doorbell(key=KEY)
    await harness.ready()

    assert server.keys == [KEY]
    assert server.channel.token is None


@pytest.mark.parametrize(
    ("key", "shown", "token"), [(JWT, "anon_key", JWT), (KEY, KEY, None)], ids=["JWT", "no JWT"]
)
async def test_a_jwt_goes_behind_the_key_that_the_gateway_knows(
    server: ScriptedRealtime, start_doorbell: Start, key: str, shown: str, token: str | None
) -> None:
    """A JWT goes behind the gateway's key; any other key is sent as the apikey itself."""
    harness = start_doorbell(key=key, api_key=lambda: "anon_key")
    await harness.ready()

    assert server.keys == [shown]
    assert server.channel.token == token
