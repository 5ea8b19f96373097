"""What can go wrong before the doorbell is ready: it keeps trying, with pauses, until it is."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from realtime_bridge.doorbell import Bell, Reason
from tests.doorbell.harness import KEY, Clock, DoorbellHarness, until
from tests.doorbell.scripted_server import (
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

Start = Callable[..., DoorbellHarness]


async def test_a_bell_is_ready_when_the_server_says_so(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """Changes are ready at the system message, not before; each bell wakes once when ready."""
    server.answer = grant_unready
    harness = start_doorbell()
    await harness.ready(Bell.BROADCAST)

    await server.channel.system_ok(extension="broadcast")  # says nothing about changes
    await server.channel.broadcast()
    await until(lambda: harness.rings[-1] == "broadcast")
    before = (harness.state(Bell.CHANGES), list(harness.rings))
    await server.channel.system_ok()
    await harness.ready(Bell.CHANGES)

    assert before == ("down", ["ready", "broadcast"])
    assert harness.rings == ["ready", "broadcast", "ready"]
    assert harness.observer.calls == [("ready", Bell.BROADCAST), ("ready", Bell.CHANGES)]


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
    server: ScriptedRealtime,
    start_doorbell: Start,
    handshake: Handshake,
    reason: Reason,
    error: str,
) -> None:
    """Whatever the server answers at connect, the doorbell reports it and tries again."""
    server.handshake = handshake
    harness = start_doorbell(timing={"reply_timeout": 0.3} if handshake is never else {})

    await harness.rebuilt(reason, times=3)
    refused = harness.doorbell.status
    attempts = server.attempts
    server.handshake = accept
    await harness.ready()

    assert refused.last_error.startswith(error)
    assert len(refused.last_error) <= 300
    assert not refused.healthy
    assert attempts <= 4
    assert ("down", reason) not in harness.observer.calls, "it never was up"


async def test_a_server_that_hangs_up_is_tried_again(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A TCP connection that is closed without a byte is a failure to connect."""
    await server.kill()
    rude = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", server.port)
    harness = start_doorbell()

    await harness.rebuilt(Reason.CONNECT, times=2)
    rude.close()
    await rude.wait_closed()
    await server.start()

    await harness.ready()


async def test_a_redirect_is_followed(server: ScriptedRealtime, start_doorbell: Start) -> None:
    """A server that has moved is found where it redirects to."""
    other = ScriptedRealtime()
    await other.start()
    place = f"ws://127.0.0.1:{other.port}/realtime/v1/websocket?vsn=1.0.0"
    server.handshake = status(307, location=place)
    harness = start_doorbell()

    await harness.ready()
    await harness.stop()
    await other.kill()

    assert len(other.joins) == 1


async def test_a_redirect_in_a_circle_ends(server: ScriptedRealtime, start_doorbell: Start) -> None:
    """A server that redirects to itself costs a bounded number of requests per attempt."""
    server.handshake = status(307, location="/realtime/v1/websocket")
    harness = start_doorbell()

    await harness.rebuilt(Reason.CONNECT, times=2)
    requests = server.attempts
    server.handshake = accept
    await harness.ready()

    assert requests <= 10 * harness.key_reads


@pytest.mark.parametrize(
    ("answer", "reason", "timing"),
    [
        (ignore, Reason.NOT_READY, {"reply_timeout": 1.0}),
        (ignore, Reason.NOT_READY, {"ready_timeout": 0.3}),
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
    start_doorbell: Start,
    answer: Answer,
    reason: Reason,
    timing: dict[str, float],
) -> None:
    """A join that is refused or not answered is repeated on a new connection until it works."""
    server.then(answer, answer)
    harness = start_doorbell(timing=timing)

    await harness.rebuilt(reason, times=2)
    await harness.ready()

    assert harness.reasons[:2] == [reason, reason]
    assert {(channel.private, len(channel.bindings)) for channel in server.joins} == {(True, 1)}
    await until(lambda: len(server.sockets) == 1)


async def test_changes_alone_that_are_never_ready_are_rebuilt(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """Without the system message changes are not ready; with no other bell, another try is made."""
    server.then(grant_unready, grant_unready)
    harness = start_doorbell(mode="changes", timing={"ready_timeout": 0.3})

    await harness.rebuilt(Reason.NOT_READY, times=2)
    await harness.ready(Bell.CHANGES)

    assert harness.rings == ["ready"]


async def test_a_system_message_that_does_not_parse_costs_one_bell_only(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """If changes never become ready, the broadcast goes on alone; a late message still counts."""
    server.answer = grant_unready
    harness = start_doorbell(timing={"ready_timeout": 1.0})

    await until(lambda: harness.state(Bell.CHANGES) == "refused")
    given_up = list(harness.observer.calls)
    error = harness.doorbell.status.last_error
    await server.channel.system_ok()
    await harness.ready()

    assert error == "no answer within 1 s"
    assert ("refused", Bell.CHANGES, error) in given_up
    assert harness.reasons == []


async def test_a_key_that_cannot_be_read_is_read_again(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A key file that is missing for a while delays the doorbell but does not end it."""
    harness = start_doorbell(key=OSError("no such file"))

    await harness.rebuilt(Reason.TOKEN, times=2)
    harness.key = KEY

    await harness.ready()
    assert server.keys == [KEY]


async def test_an_invalid_address_is_tried_again(start_doorbell: Start) -> None:
    """Even an invalid address is reported and tried again, not raised."""
    harness = start_doorbell(url="ftp://nowhere")

    await harness.rebuilt(Reason.CONNECT, times=2)

    assert "valid" in harness.doorbell.status.last_error


async def test_a_bug_in_the_supervisor_is_survived(
    server: ScriptedRealtime, start_doorbell: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception inside the supervisor is logged, and the doorbell starts over."""
    from realtime_bridge.doorbell import supervisor

    real, faults = supervisor.decide, [ZeroDivisionError("a bug")]

    def decide(*arguments: object) -> object:
        if faults:
            raise faults.pop()
        return real(*arguments)

    monkeypatch.setattr(supervisor, "decide", decide)
    with capture_logs() as logs:
        harness = start_doorbell()
        await harness.ready()

    assert harness.reasons == [Reason.INTERNAL]
    assert [line for line in logs if line["event"] == "doorbell_bug" and line["exc_info"]]


async def test_the_backoff_is_reset_only_by_a_lasting_success(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """Being ready for a moment does not shorten the next pause; being ready for a while does."""
    server.then(expire_at_once, expire_at_once, grant)
    clock = Clock()
    harness = start_doorbell(clock=clock, timing={"steady": 5.0})
    await harness.ready()

    await server.channel.phx_close()
    await harness.rebuilt(Reason.CLOSED)
    await harness.ready()
    clock.seconds += 6
    await server.channel.phx_close()
    await harness.rebuilt(Reason.CLOSED, times=2)

    assert harness.pauses == [0, 1, 2, 0]


async def test_no_key_reaches_the_log_or_the_status(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A key that the server quotes in its errors does not reach ours."""
    secret = "sb_secret_+/quoted="
    server.handshake = status(401, f'{{"error":"bad key {secret} behind anon_key"}}')
    with capture_logs() as logs:
        harness = start_doorbell(key=secret, api_key=lambda: "anon_key")
        await harness.rebuilt(Reason.TOKEN)
        server.handshake = status(307, location=f"ftp://x?apikey={secret}")
        await harness.rebuilt(Reason.CONNECT)

    said = f"{logs} {harness.observer.calls} {harness.doorbell.status}"
    assert "bad key <key> behind <key>" in said
    assert "quoted" not in said
    assert server.url not in said
