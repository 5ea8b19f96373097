"""Tokens and private channels."""

import jwt
import pytest
from realtime_kit import (
    connected,
    execute,
    looked_at,
    message,
    on_tma_events,
    token,
)

from tma_sandbox.realtime.tokens import TokenError, verify

# Tokens


async def test_a_refreshed_token_is_served_under_its_own_name(running, dsn):
    """After a refresh row level security is checked for the new token's role."""
    async with connected(running) as client:
        await client.join(postgres_changes=[on_tma_events()], access_token=token("anon"))
        await client.next("system")
        insert = "insert into tma_events (telegram_id, event_type) values ({}, 'x')"
        await execute(dsn, insert.format(1))
        await looked_at(running)
        await client.send(message("realtime:tma", "access_token", {"access_token": token()}, "2"))
        await client.next("system")
        await execute(dsn, insert.format(2))
        change = await client.next("postgres_changes")

    assert change["payload"]["data"]["record"]["telegram_id"] == 2


async def test_a_channel_outlives_its_first_token_when_refreshed(running):
    """Only the expiry of the latest token counts."""
    short = token(expires_in=3)
    async with connected(running) as client:
        await client.join("refreshed", ref="1", access_token=short)
        fresh = {"access_token": token()}
        await client.send(message("realtime:refreshed", "access_token", fresh, "2"))
        await client.join("kept", ref="3", access_token=short)
        close = await client.next("phx_close")
        await client.heartbeat()

    assert close["topic"] == "realtime:kept"
    assert client.unread("phx_close") == []


async def test_a_bad_refresh_shuts_the_channel(running):
    """An invalid token closes the channel at once; the socket stays open."""
    async with connected(running) as client:
        await client.join()
        await client.send(message("realtime:tma", "access_token", {"access_token": "x.y.z"}, "2"))
        system, close = await client.next("system"), await client.next("phx_close")
        await client.heartbeat()

    assert system["payload"]["message"] == "The token provided is not a valid JWT"
    assert close["ref"] == "1"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"role": "anon"}, "InvalidJWTToken"),
        ({"exp": 2000}, "InvalidJWTToken"),
        ({"role": 7, "exp": 2000}, "InvalidJWTToken"),
        ({"role": "anon", "exp": 1000}, "InvalidJWTToken"),
    ],
    ids=["no end", "no role", "odd role", "over"],
)
def test_a_token_must_have_a_role_and_an_end_to_come(claims, code):
    """Missing claims and a past expiry are refused."""
    secret = "s" * 32

    with pytest.raises(TokenError) as refusal:
        verify(jwt.encode(claims, secret), secret, now=1000.9)

    assert refusal.value.code == code


def test_a_token_without_a_signature_is_refused():
    """`alg: none` is refused."""
    unsigned = jwt.encode({"role": "service_role", "exp": 2000}, None, algorithm="none")

    with pytest.raises(TokenError) as refusal:
        verify(unsigned, "s" * 32, now=1000)

    assert refusal.value.code == "JwtSignerError"


# Private channels


async def test_a_policy_opens_a_private_channel(running):
    """A client may join if a policy on realtime.messages lets it read the topic."""
    async with connected(running) as client:
        joins = {
            room: await client.join(
                room, ref=room, private=True, access_token=token("authenticated", room="mine")
            )
            for room in ("mine", "yours")
        }

    assert joins["mine"]["status"] == "ok"
    assert joins["yours"]["response"] == {
        "reason": "Unauthorized: You do not have permissions to read from this Channel topic: yours"
    }


async def test_a_refresh_that_loses_the_permission_shuts_the_channel(running):
    """A private channel is checked again with every new token."""
    async with connected(running) as client:
        mine, yours = (token("authenticated", room=room) for room in ("mine", "yours"))
        await client.join("mine", private=True, access_token=mine)
        await client.send(message("realtime:mine", "access_token", {"access_token": yours}, "2"))
        system = await client.next("system")
        await client.next("phx_close")

    assert system["payload"]["message"] == (
        "You do not have permissions to read from this Channel topic: mine"
    )


async def test_a_role_that_does_not_exist_reads_nothing(running):
    """It is refused like one without permission."""
    async with connected(running) as client:
        reply = await client.join("mine", private=True, access_token=token("nosuchrole"))

    assert reply["response"]["reason"].startswith("Unauthorized: ")


async def test_who_may_read_presence_only_hears_no_broadcasts(running, dsn):
    """Policies can distinguish kinds of messages."""
    await execute(
        dsn,
        "create policy presence_only on realtime.messages for select to anon"
        " using (extension = 'presence')",
    )
    anon = {"access_token": token("anon"), "private": True}

    async with connected(running) as client:
        refused = await client.join("room", **anon)
        joined = await client.join("room", ref="2", presence={"enabled": True}, **anon)
        await client.next("presence_state")
        async with connected(running) as sender:
            config = {"private": True, "broadcast": {"ack": True}}
            await sender.join("room", **config)
            await sender.send(message("realtime:room", "broadcast", {"event": "x"}, "2"))
            await sender.next("phx_reply")
        await client.heartbeat()

    assert (refused["status"], joined["status"]) == ("error", "ok")
    assert client.unread("broadcast") == []
