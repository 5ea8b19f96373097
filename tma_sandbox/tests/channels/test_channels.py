"""Joins, leaves and connections beyond the recordings, in both wire formats."""

import asyncio
import json
import time

import aiohttp
import pytest
from realtime_kit import (
    connected,
    eventually,
    execute,
    leave,
    message,
    on_tma_events,
    serving,
    token,
)

from tma_sandbox.realtime import Delays

# Topics


async def test_a_second_join_ends_the_first_after_its_own_reply(running):
    """The old join's phx_close has the old reference and follows the new join's reply."""
    async with connected(running) as client:
        await client.join(ref="1")
        await client.join(ref="2")
        close = await client.receive()
        await client.send(leave("tma", ref="3", join_ref="1"))
        await client.heartbeat()

    assert (close["event"], close["ref"]) == ("phx_close", "1")
    assert client.unread("phx_reply") == []  # leaving by the old reference means nothing any more


async def test_leaving_is_answered_even_where_nobody_joined(running):
    """Leaving a topic that is not joined succeeds."""
    async with connected(running) as client:
        await client.send(leave("nowhere", ref="7"))
        reply = await client.next("phx_reply")

    assert (reply["ref"], reply["payload"]) == ("7", {"status": "ok", "response": {}})


async def test_talking_to_a_topic_that_is_not_joined_is_an_error(running):
    """So is joining a topic without the prefix `realtime:`."""
    async with connected(running) as client:
        await client.send(message("realtime:tma", "access_token", {"access_token": token()}, "1"))
        await client.send(message("room:1", "phx_join", {}, "2"))
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
        await client.send(message("realtime:tma", "dance", {"a": 1}, "2"))
        await client.send(message("realtime:tma", "access_token", {"access_token": None}, "3"))
        await client.send(message("realtime:tma", "broadcast", "not an object", "4"))
        await client.heartbeat()

    assert len(client.raw) == 2  # the join's reply and the heartbeat's


async def test_presence_is_accepted(running):
    """Tracking gets a reply, although nobody is notified."""
    async with connected(running) as client:
        await client.join(presence={"enabled": True})
        state = await client.next("presence_state")
        await client.send(message("realtime:tma", "presence", {"event": "track"}, "2"))
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
        await client.send(message("realtime:tma", "phx_join", {"config": config}, "1"))
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
        await waiting.send(message("realtime:", "phx_join", {}, "1"))
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
