"""What can go wrong before the doorbell is ready: it keeps trying, without haste, until it is."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from realtime_bridge.doorbell import Bell, Reason
from tests.doorbell.scripted import (
    Answer,
    Handshake,
    ScriptedRealtime,
    accept,
    expire_at_once,
    grant,
    grant_another_table,
    grant_unready,
    ignore,
    never,
    refuse,
    status,
)
from tests.doorbell.visitor import KEY, Clock, Visitor, until

Visit = Callable[..., Visitor]
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoidG1hX2JyaWRnZSJ9.c2lnbmF0dXJl"


async def test_ready_takes_the_word_of_the_server(server: ScriptedRealtime, visit: Visit) -> None:
    """Changes are ready at the system message, not before; each bell rings once when it is."""
    server.answer = grant_unready
    visitor = visit()
    await visitor.ready(Bell.BROADCAST)

    await server.channel.system_ok(extension="broadcast")  # says nothing about changes
    await server.channel.broadcast()
    await until(lambda: visitor.rings[-1] == "broadcast")
    before = (visitor.state(Bell.CHANGES), list(visitor.rings))
    await server.channel.system_ok()
    await visitor.ready(Bell.CHANGES)

    assert before == ("down", ["ready", "broadcast"])
    assert visitor.rings == ["ready", "broadcast", "ready"]
    assert visitor.told.all == [("ready", Bell.BROADCAST), ("ready", Bell.CHANGES)]


async def test_the_subscription_is_one_private_channel(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """Both bells are asked for in one join, in the frame that a real server was recorded with."""
    visitor = visit(tables=["tma_events", "plan_requests"], key=JWT)
    await visitor.ready()

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


async def test_every_table_rings(server: ScriptedRealtime, visit: Visit) -> None:
    """A row of the second table rings as one of the first does."""
    visitor = visit(tables=["tma_events", "plan_requests"])
    await visitor.ready()

    await server.channel.change("plan_requests")

    await until(lambda: visitor.rings[-1] == "changes")


@pytest.mark.parametrize(
    ("mode", "asked", "other"),
    [("changes", (False, 1), Bell.BROADCAST), ("broadcast", (True, 0), Bell.CHANGES)],
)
async def test_a_mode_asks_for_one_bell_only(
    server: ScriptedRealtime, visit: Visit, mode: str, asked: tuple[bool, int], other: Bell
) -> None:
    """With one bell wanted the other is off, and only a broadcast needs a private channel."""
    visitor = visit(mode=mode)
    await visitor.ready(Bell(mode))

    assert (server.channel.private, len(server.channel.bindings)) == asked
    assert visitor.state(other) == "off"


async def test_a_key_that_is_no_jwt_is_not_sent_as_a_token(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """An sb_secret_ key opens the connection and is not repeated in the join."""
    visitor = visit(key=KEY)
    await visitor.ready()

    assert server.keys == [KEY]
    assert server.channel.token is None


@pytest.mark.parametrize(
    ("key", "shown", "token"), [(JWT, "anon_key", JWT), (KEY, KEY, None)], ids=["JWT", "no JWT"]
)
async def test_a_jwt_goes_behind_the_key_that_the_gateway_knows(
    server: ScriptedRealtime, visit: Visit, key: str, shown: str, token: str | None
) -> None:
    """The gateway's key opens the connection for a JWT; a key of another kind speaks for itself."""
    visitor = visit(key=key, api_key=lambda: "anon_key")
    await visitor.ready()

    assert server.keys == [shown]
    assert server.channel.token == token


@pytest.mark.parametrize(
    ("handshake", "reason", "error"),
    [
        (status(401, '{"error":"Token has expired"}'), Reason.TOKEN, "HTTP 401 Token has expired"),
        (status(403), Reason.TOKEN, "HTTP 403"),
        (status(404), Reason.CONNECT, "HTTP 404"),
        (status(429), Reason.CONNECT, "HTTP 429"),
        (status(500, '{"error": {}}'), Reason.CONNECT, "HTTP 500"),
        (status(503, '{"error": "' + "x" * 9000 + '"}'), Reason.CONNECT, "HTTP 503 xxx"),
        (status(502, "<html>" * 1000), Reason.CONNECT, "HTTP 502"),
        (status(302), Reason.CONNECT, "HTTP 302"),
        (never, Reason.CONNECT, "TimeoutError"),
    ],
    ids=["401", "403", "404", "429", "500", "503", "502", "redirect to nowhere", "no answer"],
)
async def test_a_refused_connection_is_tried_again(
    server: ScriptedRealtime, visit: Visit, handshake: Handshake, reason: Reason, error: str
) -> None:
    """Whatever the server answers at connect, the doorbell says so and is ready when it can."""
    server.handshake = handshake
    visitor = visit(limits={"reply": 0.3} if handshake is never else {})

    await visitor.rebuilt(reason, times=3)
    refused = visitor.doorbell.status
    attempts = server.attempts
    server.handshake = accept
    await visitor.ready()

    assert refused.last_error.startswith(error)
    assert len(refused.last_error) <= 300
    assert not refused.healthy
    assert attempts <= 4
    assert ("down", reason) not in visitor.told.all, "it never was up"


async def test_a_server_that_hangs_up_is_tried_again(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """A TCP connection that is closed without a word counts as no connection."""
    await server.kill()
    rude = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", server.port)
    visitor = visit()

    await visitor.rebuilt(Reason.CONNECT, times=2)
    rude.close()
    await rude.wait_closed()
    await server.start()

    await visitor.ready()


async def test_a_redirect_is_followed(server: ScriptedRealtime, visit: Visit) -> None:
    """A server that has moved is found where it says."""
    other = ScriptedRealtime()
    await other.start()
    place = f"ws://127.0.0.1:{other.port}/realtime/v1/websocket?vsn=1.0.0"
    server.handshake = status(307, location=place)
    visitor = visit()

    await visitor.ready()
    await visitor.leave()
    await other.kill()

    assert len(other.joins) == 1


async def test_a_redirect_in_a_circle_ends(server: ScriptedRealtime, visit: Visit) -> None:
    """A server that redirects to itself costs a bounded number of requests an attempt."""
    server.handshake = status(307, location="/realtime/v1/websocket")
    visitor = visit()

    await visitor.rebuilt(Reason.CONNECT, times=2)
    requests = server.attempts
    server.handshake = accept
    await visitor.ready()

    assert requests <= 10 * visitor.key_reads


@pytest.mark.parametrize(
    ("answer", "reason", "limits"),
    [
        (ignore, Reason.NOT_READY, {"reply": 1.0}),
        (ignore, Reason.NOT_READY, {"ready": 0.3}),
        (refuse("ConnectionRateLimitReached: Too many connected users"), Reason.REFUSED, {}),
        (refuse("InitializingProjectConnection: Realtime is initializing"), Reason.REFUSED, {}),
        (refuse("InvalidJWTToken: Token has expired 107 seconds ago"), Reason.TOKEN, {}),
        (refuse("MalformedJWT: The token provided is not a valid JWT"), Reason.TOKEN, {}),
        (refuse("JwtSignatureError: Failed to validate JWT signature"), Reason.TOKEN, {}),
        (expire_at_once, Reason.TOKEN, {}),
        (grant_another_table, Reason.CLOSED, {}),
    ],
    ids=[
        "reply lost",
        "reply slow",
        "too many connections",
        "server starting",
        "token expired",
        "token malformed",
        "token forged",
        "granted, then expired",
        "granted another table",
    ],
)
async def test_a_join_that_fails_is_tried_again(
    server: ScriptedRealtime,
    visit: Visit,
    answer: Answer,
    reason: Reason,
    limits: dict[str, float],
) -> None:
    """A join that is refused or not answered is repeated on a new connection until it works."""
    server.then(answer, answer)
    visitor = visit(limits=limits)

    await visitor.rebuilt(reason, times=2)
    await visitor.ready()

    assert visitor.reasons[:2] == [reason, reason]
    assert {(channel.private, len(channel.bindings)) for channel in server.joins} == {(True, 1)}
    await until(lambda: len(server.sockets) == 1)


async def test_changes_alone_that_are_never_ready_are_rebuilt(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """Joined without the system message is not ready: with no other bell the client is rebuilt."""
    server.then(grant_unready, grant_unready)
    visitor = visit(mode="changes", limits={"ready": 0.3})

    await visitor.rebuilt(Reason.NOT_READY, times=2)
    await visitor.ready(Bell.CHANGES)

    assert visitor.rings == ["ready"]


async def test_a_system_message_that_does_not_parse_costs_one_bell_only(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """Where changes are never called ready the broadcast carries on alone; later news counts."""
    server.answer = grant_unready
    visitor = visit(limits={"ready": 1.0})

    await until(lambda: visitor.state(Bell.CHANGES) == "refused")
    given_up = list(visitor.told.all)
    error = visitor.doorbell.status.last_error
    await server.channel.system_ok()
    await visitor.ready()

    assert error == "no answer within 1 s"
    assert ("refused", Bell.CHANGES, error) in given_up
    assert visitor.reasons == []


async def test_a_key_that_cannot_be_read_is_read_again(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """A key file that is missing for a while delays the doorbell and does not end it."""
    visitor = visit(key=OSError("no such file"))

    await visitor.rebuilt(Reason.TOKEN, times=2)
    visitor.key = KEY

    await visitor.ready()
    assert server.keys == [KEY]


async def test_an_address_that_is_none_ends_nothing(visit: Visit) -> None:
    """Even a nonsensical address is reported and tried again, not raised."""
    visitor = visit(url="ftp://nowhere")

    await visitor.rebuilt(Reason.CONNECT, times=2)

    assert "valid" in visitor.doorbell.status.last_error


async def test_a_bug_of_ours_is_not_the_end(
    server: ScriptedRealtime, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception inside the supervisor is logged, and the doorbell is built anew."""
    from realtime_bridge.doorbell import supervisor

    real, faults = supervisor.decide, [ZeroDivisionError("a bug")]

    def decide(*arguments: object) -> object:
        if faults:
            raise faults.pop()
        return real(*arguments)

    monkeypatch.setattr(supervisor, "decide", decide)
    with capture_logs() as logs:
        visitor = visit()
        await visitor.ready()

    assert visitor.reasons == [Reason.INTERNAL]
    assert [line for line in logs if line["event"] == "doorbell_bug" and line["exc_info"]]


async def test_the_pauses_start_anew_only_after_a_lasting_success(
    server: ScriptedRealtime, visit: Visit
) -> None:
    """Ready for a moment does not make the next pause short; ready for a while does."""
    server.then(expire_at_once, expire_at_once, grant)
    clock = Clock()
    visitor = visit(clock=clock, limits={"steady": 5.0})
    await visitor.ready()

    await server.channel.phx_close()
    await visitor.rebuilt(Reason.CLOSED)
    await visitor.ready()
    clock.seconds += 6
    await server.channel.phx_close()
    await visitor.rebuilt(Reason.CLOSED, times=2)

    assert visitor.pauses == [0, 1, 2, 0]


async def test_no_key_reaches_the_log_or_the_status(server: ScriptedRealtime, visit: Visit) -> None:
    """A server that quotes the key in its errors does not get it into ours."""
    secret = "sb_secret_+/quoted="
    server.handshake = status(401, f'{{"error":"bad key {secret} behind anon_key"}}')
    with capture_logs() as logs:
        visitor = visit(key=secret, api_key=lambda: "anon_key")
        await visitor.rebuilt(Reason.TOKEN)
        server.handshake = status(307, location=f"ftp://x?apikey={secret}")
        await visitor.rebuilt(Reason.CONNECT)

    said = f"{logs} {visitor.told.all} {visitor.doorbell.status}"
    assert "bad key <key> behind <key>" in said
    assert "quoted" not in said
    assert server.url not in said
