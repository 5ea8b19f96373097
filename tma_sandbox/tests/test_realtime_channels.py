"""Joins, leaves, tokens and private channels beyond the recordings."""

import asyncio
import json
import time

import aiohttp
import jwt
import psycopg
import pytest
from realtime_kit import (
    TMA_EVENTS,
    connected,
    eventually,
    execute,
    looked_at,
    on_tma_events,
    serving,
    token,
)

from tma_sandbox.realtime import Delays
from tma_sandbox.realtime.tokens import TokenError, verify

READER = """
    create policy reader on realtime.messages for select to authenticated
        using (realtime.topic() = auth.jwt() ->> 'room')
"""


@pytest.fixture(scope="module")
def dsn(postgres):
    """One database for all tests: the recordings' table, and topics that a claim opens."""
    dsn = postgres.create_database("realtime_channels")
    with psycopg.connect(dsn) as conn:
        conn.execute(TMA_EVENTS)
        conn.execute(READER)
    yield dsn
    postgres.drop_database("realtime_channels")


@pytest.fixture
async def running(postgres, dsn):
    """A server over this database."""
    async with serving(postgres, dsn) as server:
        yield server


# Topics


async def test_a_second_join_ends_the_first_after_its_own_reply(running):
    """The old join's phx_close has the old reference and follows the new join's reply."""
    async with connected(running) as client:
        await client.join(ref="1")
        await client.join(ref="2")
        close = await client.receive()
        await client.send(_leave("tma", ref="3", join_ref="1"))
        await client.heartbeat()

    assert (close["event"], close["ref"]) == ("phx_close", "1")
    assert client.unread("phx_reply") == []  # leaving by the old reference means nothing any more


async def test_leaving_is_answered_even_where_nobody_joined(running):
    """Leaving a topic that is not joined succeeds."""
    async with connected(running) as client:
        await client.send(_leave("nowhere", ref="7"))
        reply = await client.next("phx_reply")

    assert (reply["ref"], reply["payload"]) == ("7", {"status": "ok", "response": {}})


async def test_talking_to_a_topic_that_is_not_joined_is_an_error(running):
    """So is joining a topic without the prefix `realtime:`."""
    async with connected(running) as client:
        await client.send(_message("realtime:tma", "access_token", {"access_token": token()}, "1"))
        await client.send(_message("room:1", "phx_join", {}, "2"))
        replies = [await client.next("phx_reply") for _ in range(2)]

    assert [reply["payload"] for reply in replies] == [
        {"status": "error", "response": {"reason": "unmatched topic"}}
    ] * 2


async def test_a_topic_needs_a_name(running):
    """`realtime:` alone is refused."""
    async with connected(running) as client:
        reply = await client.join("")

    assert reply["response"] == {"reason": "TopicNameRequired: You must provide a topic name"}


async def test_unknown_events_are_ignored(running):
    """Events of newer clients get no reply and do no harm."""
    async with connected(running) as client:
        await client.join()
        await client.send(_message("realtime:tma", "dance", {"a": 1}, "2"))
        await client.send(_message("realtime:tma", "access_token", {"access_token": None}, "3"))
        await client.send(_message("realtime:tma", "broadcast", "not an object", "4"))
        await client.heartbeat()

    assert len(client.raw) == 2  # the join's reply and the heartbeat's


async def test_presence_is_accepted(running):
    """Tracking gets a reply, although nobody is notified."""
    async with connected(running) as client:
        await client.join(presence={"enabled": True})
        state = await client.next("presence_state")
        await client.send(_message("realtime:tma", "presence", {"event": "track"}, "2"))
        reply = await client.next("phx_reply")

    assert state["payload"] == {}
    assert reply["payload"]["status"] == "ok"


@pytest.mark.parametrize(
    "config",
    [
        "nonsense",
        {"broadcast": 1, "presence": [], "postgres_changes": {}, "private": "maybe"},
        {"postgres_changes": [None, 7]},
    ],
    ids=["text", "wrong types", "wrong bindings"],
)
async def test_a_join_with_wrong_types_counts_as_a_plain_join(running, config):
    """A parameter of the wrong type counts as absent."""
    async with connected(running) as client:
        await client.send(_message("realtime:tma", "phx_join", {"config": config}, "1"))
        reply = await client.next("phx_reply")

    assert reply["payload"] == {"status": "ok", "response": {"postgres_changes": []}}


async def test_a_client_may_ask_for_the_reply_to_wait(running, dsn):
    """With `wait` the reply means that changes are served, or says why they are not."""
    async with connected(running) as client:
        good = await client.join(
            postgres_changes=[on_tma_events()], postgres_changes_options={"wait": True}
        )
        await execute(dsn, "insert into tma_events (telegram_id, event_type) values (1, 'x')")
        change = await client.next("postgres_changes")
        bad = await client.join(
            "other",
            ref="2",
            postgres_changes=[{"schema": "public", "table": "nope"}],
            postgres_changes_options={"wait": True},
        )

    assert good["status"] == "ok"
    assert change["payload"]["data"]["record"]["event_type"] == "x"
    assert bad["response"]["reason"].startswith(
        "RealtimeDisabledForConfiguration: Unable to subscribe to changes"
    )


async def test_the_broadcast_reader_reports_ready_to_who_asks(running):
    """With `replication_ready` a system message says that broadcasts arrive."""
    async with connected(running) as client:
        await client.join(broadcast={"replication_ready": True})
        system = await client.next("system")

    assert system["payload"] == {
        "message": "Replication connection established",
        "status": "ok",
        "extension": "system",
        "channel": "tma",
    }


# Sockets


async def test_silence_ends_the_connection(postgres, dsn):
    """A silent client is disconnected cleanly; one that sends heartbeats is not."""
    async with (
        serving(postgres, dsn, delays=Delays(silence=2)) as running,
        connected(running) as silent,
        connected(running) as alive,
    ):
        waiting = asyncio.create_task(silent.closed())
        while not waiting.done():
            await alive.socket.ping()
            await asyncio.sleep(0.05)
        await alive.heartbeat()

    assert waiting.result() == 1000


async def test_a_refused_join_holds_up_what_was_sent_after_it(postgres, dsn):
    """The server waits before it refuses a join, and the whole socket with it."""
    delays = Delays(join_error=0.2)
    async with serving(postgres, dsn, delays=delays) as running, connected(running) as client:
        began = time.monotonic()
        await client.join(access_token="not.a.jwt")
        await client.heartbeat()

    assert time.monotonic() - began >= 0.2
    assert [json.loads(raw)["topic"] for raw in client.raw] == ["realtime:tma", "phoenix"]


async def test_a_server_may_refuse_everybody_or_drop_everybody(running):
    """For tests of clients: an HTTP status instead of a connection, or cut connections."""
    async with connected(running) as client:
        running.realtime.refuse(503)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with connected(running):
                pass
        running.realtime.refuse(None)
        running.realtime.drop_sockets()
        code = await client.closed()
    async with connected(running) as again:
        await again.heartbeat()

    assert refusal.value.status == 503
    assert code == 1006


async def test_a_stopped_server_says_good_bye(postgres, dsn):
    """Stopping closes the sockets, even those that wait for a refusal."""
    async with (
        serving(postgres, dsn, delays=Delays(join_error=60)) as running,
        connected(running) as client,
        connected(running) as waiting,
    ):
        await waiting.send(_message("realtime:", "phx_join", {}, "1"))
        await client.heartbeat()
        began = time.monotonic()
        stopping = asyncio.create_task(running.realtime.stop())
        codes = await client.closed(), await waiting.closed()
        await stopping

    assert codes == (1001, 1001)
    assert time.monotonic() - began < 3


async def test_a_stopped_server_can_start_again(running, dsn):
    """After that joins are served, and changes and broadcasts are delivered."""
    async with connected(running) as before:
        await before.join(postgres_changes=[on_tma_events()])
        await before.next("system")
        await running.realtime.stop()
    await running.realtime.start()

    async with connected(running) as client:
        await client.join(private=True, postgres_changes=[on_tma_events()])
        await client.next("system")
        await execute(
            dsn,
            "insert into tma_events (telegram_id, event_type) values (1, 'x')",
            "select realtime.send('{}', 'rows', 'tma', true)",
        )
        await client.next("postgres_changes")
        await client.next("broadcast")


# Tokens


async def test_a_refreshed_token_is_served_under_its_own_name(running, dsn):
    """After a refresh row level security is checked for the new token's role."""
    async with connected(running) as client:
        await client.join(postgres_changes=[on_tma_events()], access_token=token("anon"))
        await client.next("system")
        insert = "insert into tma_events (telegram_id, event_type) values ({}, 'x')"
        await execute(dsn, insert.format(1))
        await looked_at(running)
        await client.send(_message("realtime:tma", "access_token", {"access_token": token()}, "2"))
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
        await client.send(_message("realtime:refreshed", "access_token", fresh, "2"))
        await client.join("kept", ref="3", access_token=short)
        close = await client.next("phx_close")
        await client.heartbeat()

    assert close["topic"] == "realtime:kept"
    assert client.unread("phx_close") == []


async def test_a_bad_refresh_shuts_the_channel(running):
    """An invalid token closes the channel at once; the socket stays open."""
    async with connected(running) as client:
        await client.join()
        await client.send(_message("realtime:tma", "access_token", {"access_token": "x.y.z"}, "2"))
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
        await client.send(_message("realtime:mine", "access_token", {"access_token": yours}, "2"))
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
            await sender.send(_message("realtime:room", "broadcast", {"event": "x"}, "2"))
            await sender.next("phx_reply")
        await client.heartbeat()

    assert (refused["status"], joined["status"]) == ("error", "ok")
    assert client.unread("broadcast") == []


# Protocol 2.0.0


async def test_arrays_carry_the_joins_reference(running, dsn):
    """In protocol 2.0.0 replies and system messages have the join's ref, changes do not."""
    async with connected(running, vsn="2.0.0") as client:
        config = {"config": {"postgres_changes": [on_tma_events(select=["id"])]}}
        await client.send(["1", "1", "realtime:tma", "phx_join", config])
        reply, system = await client.receive(), await client.receive()
        await execute(dsn, "insert into tma_events (telegram_id, event_type) values (1, 'x')")
        change = await client.receive()
        await client.send([None, "2", "phoenix", "heartbeat", {}])
        beat = await client.receive()
        await client.send(["1", "3", "realtime:tma", "phx_leave", {}])
        left, close = await client.receive(), await client.receive()

    assert reply[:4] == ["1", "1", "realtime:tma", "phx_reply"]
    assert system[:4] == ["1", None, "realtime:tma", "system"]
    assert change[:4] == [None, None, "realtime:tma", "postgres_changes"]
    assert beat == [None, "2", "phoenix", "phx_reply", {"status": "ok", "response": {}}]
    assert left[:4] == ["1", "3", "realtime:tma", "phx_reply"]
    assert close == ["1", "1", "realtime:tma", "phx_close", {}]


async def test_an_unknown_protocol_is_refused(running):
    """Only 1.0.0 and 2.0.0 are supported."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with connected(running, vsn="3.0.0"):
            pass

    assert refusal.value.status == 403


async def test_a_closed_socket_is_forgotten(running):
    """A client that disconnects without leaving is forgotten."""
    async with connected(running) as client:
        await client.join(postgres_changes=[on_tma_events()])
        await client.next("system")
        assert running.realtime.subscribers == 1

    await eventually(lambda: running.realtime.subscribers == 0)


def _message(topic, event, payload, ref):
    return {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": "1"}


def _leave(topic, ref, join_ref="1"):
    return _message(f"realtime:{topic}", "phx_leave", {}, ref) | {"join_ref": join_ref}
