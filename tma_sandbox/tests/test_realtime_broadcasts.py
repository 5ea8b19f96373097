"""Broadcasts: from the database, between clients, and over HTTP."""

import json

import aiohttp
import psycopg
import pytest
from realtime_kit import connected, execute, token

WRITER = """
    create policy writer on realtime.messages for insert to authenticated
        with check (realtime.topic() = auth.jwt() ->> 'room');
    create policy reader on realtime.messages for select to authenticated using (true)
"""
SEND = "select realtime.send('{}'::jsonb, '{}', '{}', {})"


@pytest.fixture(scope="module")
def dsn(postgres):
    """One database for all tests: everybody can read, a claim names the topic to write to."""
    dsn = postgres.create_database("realtime_broadcasts")
    with psycopg.connect(dsn) as conn:
        conn.execute(WRITER)
    yield dsn
    postgres.drop_database("realtime_broadcasts")


def says(event, payload=None, ref="9", topic="room"):
    """A client's broadcast in protocol 1.0.0."""
    body = {"type": "broadcast", "event": event, "payload": payload or {}}
    return {
        "topic": f"realtime:{topic}",
        "event": "broadcast",
        "payload": body,
        "ref": ref,
        "join_ref": "1",
    }


# From the database


async def test_a_message_reaches_channels_of_its_kind_only(running, dsn):
    """Private messages reach private channels of the topic, public ones public channels."""
    async with connected(running) as private, connected(running) as public:
        await private.join("room", private=True)
        await public.join("room")
        await execute(
            dsn,
            SEND.format('{"n": 1}', "rows", "room", "true"),
            SEND.format('{"n": 2}', "rows", "room", "false"),
            SEND.format('{"n": 3}', "rows", "elsewhere", "true"),
            SEND.format('{"n": 4, "id": "mine"}', "last", "room", "true"),
            SEND.format('{"n": 5}', "last", "room", "false"),
        )
        heard = {
            "private": [(await private.next("broadcast"))["payload"] for _ in range(2)],
            "public": [(await public.next("broadcast"))["payload"] for _ in range(2)],
        }

    assert [m["payload"]["n"] for m in heard["private"]] == [1, 4]
    assert [m["payload"]["n"] for m in heard["public"]] == [2, 5]
    first, last = heard["private"]
    assert first["payload"]["id"] == first["meta"]["id"]
    assert last["payload"]["id"] == "mine"


async def test_a_rolled_back_message_is_not_sent(running, dsn):
    """A message that was rolled back is never sent."""
    async with connected(running) as client:
        await client.join("room", private=True)
        await execute(
            dsn,
            "begin; " + SEND.format("{}", "no", "room", "true") + "; rollback",
            SEND.format("{}", "yes", "room", "true"),
        )
        message = await client.next("broadcast")

    assert message["payload"]["event"] == "yes"


async def test_asking_for_permission_sends_nothing(running):
    """Nobody hears the sample messages that a private join inserts to check the policies."""
    async with connected(running) as client:
        await client.join("room", private=True, broadcast={"self": True})
        await client.join("room", ref="2", private=True, broadcast={"self": True})
        await client.send(says("end") | {"join_ref": "2"})
        message = await client.next("broadcast")

    assert message["payload"]["event"] == "end"


async def test_a_paused_server_keeps_broadcasts_to_itself(running, dsn):
    """Broadcasts from the database are withheld; everything else works."""
    async with connected(running) as client:
        await client.join("room", private=True, broadcast={"self": True})
        running.realtime.pause_broadcasts()
        await execute(dsn, SEND.format("{}", "lost", "room", "true"))
        await client.send(says("between clients"))
        first = await client.next("broadcast")
        running.realtime.pause_broadcasts(paused=False)
        await execute(dsn, SEND.format("{}", "heard", "room", "true"))
        second = await client.next("broadcast")

    assert first["payload"]["event"] == "between clients"
    assert second["payload"]["event"] in ("lost", "heard")


# Between clients


async def test_clients_hear_each_other_and_themselves_if_they_want(running):
    """A broadcast reaches the others of its topic; `self` and `ack` are honoured."""
    async with (
        connected(running) as plain,
        connected(running) as proud,
        connected(running) as elsewhere,
    ):
        await plain.join("room")
        await proud.join("room", broadcast={"self": True, "ack": True})
        await elsewhere.join("other")
        await plain.send(says("one", {"b": 1, "a": [None]}))
        await proud.next("broadcast")
        raw = proud.raw[-1]
        await proud.send(says("two", ref="5"))
        mine, reply = await proud.next("broadcast"), await proud.next("phx_reply")
        theirs = await plain.next("broadcast")
        for client in (plain, elsewhere):
            await client.heartbeat()

    # The real server's maps sort their keys.
    assert raw == (
        '{"ref":null,"event":"broadcast","payload":{"event":"one","payload":{"a":[null],"b":1},'
        '"type":"broadcast"},"topic":"realtime:room"}'
    )
    assert mine["payload"]["event"] == theirs["payload"]["event"] == "two"
    assert (reply["ref"], reply["payload"]["status"]) == ("5", "ok")
    assert plain.unread("broadcast") == plain.unread("phx_reply") == []
    assert elsewhere.unread("broadcast") == []


async def test_writing_to_a_private_channel_takes_permission(running):
    """A broadcast that no policy allows is dropped without a reply."""
    config = {"private": True, "broadcast": {"ack": True}}
    async with connected(running) as reader, connected(running) as writer:
        await reader.join("mine", access_token=token("authenticated", room="other"), **config)
        await writer.join("mine", access_token=token("authenticated", room="mine"), **config)
        await reader.send(says("forbidden", topic="mine"))
        await reader.heartbeat()
        await writer.send(says("allowed", topic="mine"))
        await writer.next("phx_reply")
        heard = await reader.next("broadcast")
        await writer.heartbeat()

    assert heard["payload"]["event"] == "allowed"
    assert writer.unread("broadcast") == []
    assert reader.unread("phx_reply") == []


def push(event, data, *, is_json, ref=b"5"):
    """A client's broadcast in protocol 2.0.0."""
    fields = [b"1", ref, b"realtime:room", event, b""]
    return bytes([3, *map(len, fields), is_json]) + b"".join(fields) + data


async def test_binary_broadcasts_pass_between_protocols(running):
    """In 2.0.0 payloads are bytes; if they are JSON, they reach 1.0.0 clients as well."""
    async with connected(running, vsn="2.0.0") as one, connected(running, vsn="2.0.0") as two:
        for client in (one, two):
            config = {"config": {"broadcast": {"ack": True}}}
            await client.send(["1", "1", "realtime:room", "phx_join", config])
            await client.receive()
        async with connected(running) as old:
            await old.join("room")
            await one.send(push("añb".encode(), b'{"x": 1}', is_json=True))
            await one.send(push(b"raw", b"\0\xff", is_json=False))
            replies = [await one.receive() for _ in range(2)]
            frames = [await two.receive() for _ in range(2)]
            heard = await old.next("broadcast")
            await old.heartbeat()
            await old.send(says("text"))
            text = await two.receive()

    assert [reply[:4] for reply in replies] == [["1", "5", "realtime:room", "phx_reply"]] * 2
    header = bytes([4, 13, 4, 0, 1]) + "realtime:roomañb".encode()
    assert frames[0] == header + b'{"x": 1}'
    assert frames[1] == bytes([4, 13, 3, 0, 0]) + b"realtime:roomraw\0\xff"
    assert heard["payload"] == {"event": "añb", "payload": {"x": 1}, "type": "broadcast"}
    assert old.unread("broadcast") == []  # bytes that are no JSON do not fit into 1.0.0
    assert text[:4] == [None, None, "realtime:room", "broadcast"]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\0\0",
        bytes([9]) + bytes(20),
        push(b"\xff", b"{}", is_json=True),
        push(b"x", b"{", is_json=True),
    ],
    ids=["empty", "short", "kind", "event", "payload"],
)
async def test_binary_nonsense_does_nothing(running, frame):
    """An invalid binary frame is ignored: the next frame is answered."""
    async with connected(running, vsn="2.0.0") as client:
        await client.send(frame)
        await client.send([None, "2", "phoenix", "heartbeat", {}])
        answer = await client.receive()

    assert answer[:4] == [None, "2", "phoenix", "phx_reply"]


# Over HTTP


async def post(running, path, body, **headers):
    """POST a broadcast; returns the status."""
    headers = {"apikey": token(), **headers}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{running.url}/realtime/v1/api/{path}", data=body) as answer,
    ):
        return answer.status


async def test_broadcasts_arrive_over_http(running):
    """A batch, a single message and bytes, with the topic in the body or in the path."""
    batch = {
        "messages": [
            {"topic": "a room", "event": "one", "payload": {"n": 1}},
            {"topic": "a room", "event": "two", "payload": {"n": 2}, "private": True},
        ]
    }
    async with connected(running) as public, connected(running, vsn="2.0.0") as private:
        await public.join("a room")
        await private.send(["1", "1", "realtime:a room", "phx_join", {"config": {"private": True}}])
        await private.receive()
        statuses = [
            await post(running, "broadcast", json.dumps(batch)),
            await post(running, "broadcast/a%20room/events/three", '{"n": 3}'),
            await post(
                running,
                "broadcast/a%20room/events/four?private=true",
                b"\0\1",
                **{"content-type": "application/octet-stream"},
            ),
        ]
        heard = [await public.next("broadcast") for _ in range(2)]
        two, four = await private.receive(), await private.receive()

    assert statuses == [202, 202, 202]
    assert [message["payload"] for message in heard] == [
        {"event": "one", "payload": {"n": 1}, "type": "broadcast"},
        {"event": "three", "payload": {"n": 3}, "type": "broadcast"},
    ]
    assert two[4]["event"] == "two"
    assert four == bytes([4, 15, 4, 0, 0]) + b"realtime:a roomfour\0\1"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("broadcast", "{}", {"apikey": "x"}, 401),
        ("broadcast", "{}", {"authorization": "Bearer x"}, 401),
        ("broadcast", "{", {}, 422),
        ("broadcast", "[]", {}, 422),
        ("broadcast", '{"messages": []}', {}, 422),
        ("broadcast", '{"messages": 7}', {}, 422),
        ("broadcast", '{"messages": [{"topic": "t"}]}', {}, 422),
        ("broadcast/t/events/e", "[]", {}, 422),
        ("broadcast/t", "{}", {}, 404),
    ],
)
async def test_a_bad_broadcast_over_http_is_refused(running, path, body, headers, status):
    """Without a good token, a readable body or a known path nothing is sent."""
    assert await post(running, path, body, **headers) == status


async def test_writing_over_http_to_a_private_topic_takes_permission(running):
    """A broadcast that no policy allows is accepted and dropped."""
    async with connected(running) as client:
        await client.join("mine", private=True)
        message = {"topic": "mine", "payload": {}, "private": True}
        for room in ("other", "mine"):
            body = json.dumps({"messages": [message | {"event": room}]})
            bearer = f"Bearer {token('authenticated', room=room)}"
            assert await post(running, "broadcast", body, authorization=bearer) == 202
        heard = await client.next("broadcast")

    assert heard["payload"]["event"] == "mine"
