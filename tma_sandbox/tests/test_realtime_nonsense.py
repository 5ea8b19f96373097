"""What a real server does with tokens and frames that it cannot read.

Two facts were measured on a real server (2.129.8): a join with the token `abc.def.ghi` is refused
with `UnknownErrorOnChannel: Erlang error: {:invalid_byte, 117}`, and a frame that is a bare JSON
string does nothing. The other cases follow from its published source, which explains both: it
reads a token's claims, then its header, with Erlang's `json:decode`, and catches whatever a frame
raises; its own tests cover a short array, a frame that is not JSON, and an empty frame.
"""

import base64

import aiohttp
import psycopg
import pytest
from realtime_kit import TMA_EVENTS, connected, token

from tma_sandbox.realtime.tokens import decoding_error


@pytest.fixture(scope="module")
def dsn(postgres):
    """One database for all tests."""
    dsn = postgres.create_database("realtime_nonsense")
    with psycopg.connect(dsn) as conn:
        conn.execute(TMA_EVENTS)
    yield dsn
    postgres.drop_database("realtime_nonsense")


# Tokens


def part(text):
    """Encode one part of a token."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_a_join_with_a_token_that_is_no_json_is_an_unknown_error(running):
    """Measured: the same reply to the same token; the socket stays open."""
    async with connected(running) as client:
        reply = await client.join(access_token="abc.def.ghi")
        await client.heartbeat()

    assert reply == {
        "status": "error",
        "response": {"reason": "UnknownErrorOnChannel: Erlang error: {:invalid_byte, 117}"},
    }


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (f"{part('{}')}.{part(' hello')}.x", "{:invalid_byte, 104}"),
        (f"{part('hello')}.{part('{}')}.x", "{:invalid_byte, 104}"),
        (f"{part('hello')}.{part('world')}.x", "{:invalid_byte, 119}"),
        (f"{part('{}')}.{part('NaN')}.x", "{:invalid_byte, 78}"),
        (f"{part('{}')}.{part('{} x')}.x", "{:invalid_byte, 120}"),
        (f"{part('{}')}.{part('[1')}.x", ":unexpected_end"),
        (f"{part('{}')}..x", ":unexpected_end"),
    ],
    ids=["claims", "header", "both", "nan", "more than one", "cut", "empty"],
)
def test_the_byte_that_is_told_is_the_first_that_cannot_be(bad, problem):
    """The claims are read before the header; an unexpected end has no byte."""
    assert decoding_error(bad) == problem


@pytest.mark.parametrize(
    "plain",
    [
        "",
        "abc.def",
        "abc.def.ghi.jkl",
        "not.a.jwt",
        "abc.d=f.ghi",
        f"{part('{}')}.{part('{}')}.x",
        f"{part('{}')}.{part('[' * 100_000)}.x",
        f"{part('{}')}.{part('9' * 5_000)}.x",
    ],
    ids=["nothing", "two", "four", "one letter", "padded", "json", "deep", "long number"],
)
def test_other_bad_tokens_are_malformed_as_before(plain):
    """An error without a known byte is a malformed token; even deep JSON raises nothing."""
    assert decoding_error(plain) is None


async def test_a_refresh_with_such_a_token_shuts_the_channel(running):
    """Not recorded: the text is that for any malformed token."""
    async with connected(running) as client:
        await client.join()
        payload = {"access_token": "abc.def.ghi"}
        await client.send(
            {"topic": "realtime:tma", "event": "access_token", "payload": payload, "ref": "2"}
        )
        system = await client.next("system")
        await client.next("phx_close")

    assert system["payload"]["message"] == "The token provided is not a valid JWT"


async def test_connecting_with_such_a_token_is_refused(running):
    """Not recorded: it is refused like any malformed token."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with connected(running, key="abc.def.ghi"):
            pass

    assert refusal.value.status == 401


# Frames


OBJECTS = {
    "a bare string": '"hello"',
    "number": "7",
    "null": "null",
    "true": "true",
    "array": '["1", "1", "realtime:tma", "phx_join", {}]',
    "empty": "",
    "cut": "{",
    "no topic": '{"event": "phx_join", "payload": {}, "ref": "9"}',
    "no payload": '{"topic": "realtime:tma", "event": "phx_join", "ref": "9"}',
    "no ref": '{"topic": "phoenix", "event": "heartbeat", "payload": {}}',
    "types": '{"topic": 1, "event": "x", "payload": {}, "ref": "9"}',
    "nan": '{"topic": "t", "event": "x", "payload": NaN, "ref": "9"}',
    "half a character": '{"topic": "t", "event": "x", "payload": "\\ud800", "ref": "9"}',
    "deep": "[" * 100_000,
    "bytes": b"\xff\xfe",
}

ARRAYS = {
    "a bare string": '"hello"',
    "short": '["1", "1", "realtime:tma", "phx_join"]',
    "no elements": "[]",
    "object": '{"topic": "realtime:tma", "event": "phx_join", "payload": {}, "ref": "9"}',
    "null": "null",
    "bytes of another kind": b"\x07\x00\x00\x00\x00\x00\x00",
}


async def _joined_and_sent(running, frame, vsn, first, beat):
    """Join, send the frame, and get nothing before the reply to a heartbeat."""
    async with connected(running, vsn=vsn) as client:
        await client.send(first)
        await client.receive()
        await client.send(frame)
        await client.send(beat)
        return await client.receive()


@pytest.mark.parametrize("frame", OBJECTS.values(), ids=OBJECTS)
async def test_a_frame_that_is_not_phoenix_does_nothing(running, frame):
    """Measured for a bare string: no reply, no close, and the channel stays joined."""
    message = {"topic": "realtime:tma", "event": "phx_join", "payload": {}, "ref": "1"}
    beat = {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "2"}

    answer = await _joined_and_sent(running, frame, "1.0.0", message, beat)

    assert (answer["topic"], answer["ref"]) == ("phoenix", "2")
    assert answer["payload"] == {"status": "ok", "response": {}}


@pytest.mark.parametrize("frame", ARRAYS.values(), ids=ARRAYS)
async def test_an_array_that_is_not_phoenix_does_nothing(running, frame):
    """In protocol 2.0.0: short arrays, objects, and unknown kinds of binary frames."""
    message = ["1", "1", "realtime:tma", "phx_join", {}]
    beat = [None, "2", "phoenix", "heartbeat", {}]

    answer = await _joined_and_sent(running, frame, "2.0.0", message, beat)

    assert answer == [None, "2", "phoenix", "phx_reply", {"status": "ok", "response": {}}]


async def test_a_channel_serves_on_after_nonsense(running):
    """A broadcast on the channel is still answered."""
    async with connected(running) as client:
        await client.join(broadcast={"ack": True}, access_token=token())
        await client.send('"hello"')
        await client.send(
            {"topic": "realtime:tma", "event": "broadcast", "payload": {"event": "x"}, "ref": "2"}
        )
        reply = await client.next(lambda frame: frame["ref"] == "2")

    assert reply["payload"] == {"status": "ok", "response": {}}
