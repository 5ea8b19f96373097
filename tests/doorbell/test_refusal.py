"""A server that grants only one of the bells: the doorbell makes do with it, and asks again."""

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from realtime_bridge.doorbell import Bell, Reason
from tests.doorbell.harness import Clock, DoorbellHarness, until
from tests.doorbell.scripted_server import (
    PRIVATE_ONLY,
    UNABLE,
    UNAUTHORIZED,
    Answer,
    ScriptedRealtime,
    grant,
    ignore,
    refuse,
    refuse_changes,
    refuse_private,
    refuse_public,
)

Start = Callable[..., DoorbellHarness]
PRIVATE_BOTH, PRIVATE_BROADCAST, PUBLIC_CHANGES = (True, 1), (True, 0), (False, 1)


def asked(server: ScriptedRealtime) -> list[tuple[bool, int]]:
    """Return for each join whether it was private, and how many tables it bound."""
    return [(channel.private, len(channel.bindings)) for channel in server.joins]


@pytest.mark.parametrize(
    ("answer", "refusal", "next_join"),
    [
        (refuse_private, (Bell.BROADCAST, UNAUTHORIZED), PUBLIC_CHANGES),
        (refuse_changes, (Bell.CHANGES, UNABLE), PRIVATE_BROADCAST),
    ],
)
async def test_one_bell_refused_leaves_the_other(
    server: ScriptedRealtime,
    start_doorbell: Start,
    answer: Answer,
    refusal: tuple[Bell, str],
    next_join: tuple[bool, int],
) -> None:
    """The refusal is logged as an error; the other bell is asked for alone, and rings."""
    server.answer = answer
    refused, text = refusal
    with capture_logs() as logs:
        harness = start_doorbell()
        (other,) = set(Bell) - {refused}
        await until(lambda: harness.state(refused) == "refused")
        await harness.ready(other)

    await server.channel.change()
    await server.channel.broadcast()

    await until(lambda: harness.rings[-1] == other.value)
    assert asked(server) == [PRIVATE_BOTH, next_join]
    assert ("refused", refused, text) in harness.observer.calls
    assert harness.reasons == [Reason.REFUSED]
    assert harness.doorbell.status.healthy
    (line,) = [line for line in logs if line["event"] == "doorbell_refused"]
    assert (line["log_level"], line["bell"], line["error"]) == ("error", refused.value, text)
    assert line["hint"]


@pytest.mark.parametrize("answer", [refuse_private, refuse_changes])
async def test_a_refused_bell_is_asked_for_again_beside_the_working_one(
    server: ScriptedRealtime, start_doorbell: Start, answer: Answer
) -> None:
    """Asking again never takes the working bell away; once granted, both are ready."""
    server.answer = answer
    harness = start_doorbell(timing={"longest_retry": 0.15})
    harness.expected_reads = 1000  # each question that is refused opens a connection
    await until(lambda: "refused" in [harness.state(bell) for bell in Bell])
    await until(lambda: harness.doorbell.healthy)

    joins = len(server.joins)
    await until(lambda: len(server.joins) >= joins + 2)
    still = list(harness.observer.calls)
    server.answer = grant
    await harness.ready()

    assert Reason.RETRY not in [call[1] for call in still]
    assert ("rebuilt", Reason.RETRY) in harness.observer.calls
    assert harness.observer.calls.count(("rebuilt", Reason.REFUSED)) == 1
    assert not [call for call in harness.observer.calls[2:] if call[0] == "down"]
    await until(lambda: len(server.sockets) == 1)
    await server.kill()
    await until(lambda: {harness.state(bell) for bell in Bell} == {"down"})


async def test_retries_keep_their_distance(server: ScriptedRealtime, start_doorbell: Start) -> None:
    """Nothing is asked again before it is time, however often the supervisor looks."""
    server.answer = refuse_changes
    harness = start_doorbell(timing={"longest_retry": 1000.0})
    await until(lambda: harness.state(Bell.CHANGES) == "refused")
    await harness.ready(Bell.BROADCAST)

    for _ in range(5):
        rings = len(harness.rings)
        await server.channel.broadcast()
        await until(lambda rings=rings: len(harness.rings) > rings)

    assert len(server.joins) == 2


async def test_a_loss_soon_after_a_refusal_does_not_ask_for_everything(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A narrowed subscription stays narrowed: being refused again would take seconds."""
    server.answer = refuse_private
    harness = start_doorbell()
    await harness.ready(Bell.CHANGES)

    await server.channel.phx_close()
    await harness.rebuilt(Reason.CLOSED)
    await harness.ready(Bell.CHANGES)

    assert asked(server) == [PRIVATE_BOTH, PUBLIC_CHANGES, PUBLIC_CHANGES]


async def test_a_loss_long_after_a_refusal_asks_for_everything(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """When it is time to ask again anyway, the next connection does."""
    clock = Clock()
    server.then(refuse_private)
    harness = start_doorbell(clock=clock, timing={"look_every": 60.0})
    await until(lambda: harness.state(Bell.CHANGES) == "ready")

    clock.seconds += 300
    await server.channel.phx_close()
    await harness.ready()

    assert harness.reasons == [Reason.REFUSED, Reason.CLOSED]


async def test_everything_refused_starts_over(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """With nothing left to ask for, everything is asked for again after a pause."""
    server.then(refuse(UNAUTHORIZED), refuse(PRIVATE_ONLY), refuse(UNAUTHORIZED))
    harness = start_doorbell()

    await harness.rebuilt(Reason.REFUSED, times=3)
    hopeless = [harness.state(bell) for bell in Bell]
    await harness.ready()

    assert asked(server)[:3] == [PRIVATE_BOTH, PUBLIC_CHANGES, (True, 1)]
    assert hopeless == ["refused", "refused"]
    assert harness.rings == ["ready", "ready"]


@pytest.mark.parametrize(
    ("mode", "answer"), [("broadcast", refuse_private), ("changes", refuse_changes)]
)
async def test_the_only_bell_refused_is_asked_for_until_granted(
    server: ScriptedRealtime, start_doorbell: Start, mode: str, answer: Answer
) -> None:
    """In a mode with one bell a refusal is not the end: the table may be published later."""
    server.then(answer, answer)
    harness = start_doorbell(mode=mode)

    await harness.rebuilt(Reason.REFUSED, times=2)
    await harness.ready(Bell(mode))

    assert [call[1] for call in harness.observer.calls if call[0] == "refused"] == [Bell(mode)] * 2


async def test_changes_alone_use_a_private_channel_where_they_must(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A project that allows only private channels gets a private one."""
    server.answer = refuse_public
    harness = start_doorbell(mode="changes")

    await harness.ready(Bell.CHANGES)

    assert asked(server) == [PUBLIC_CHANGES, (True, 1)]


async def test_changes_refused_later_are_refused(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A system error long after the subscription ends that bell."""
    harness = start_doorbell()
    await harness.ready()

    await server.channel.system_error(UNABLE)
    await until(lambda: harness.state(Bell.CHANGES) == "refused")
    await harness.ready(Bell.BROADCAST)

    assert asked(server) == [PRIVATE_BOTH, PRIVATE_BROADCAST]


async def test_a_retry_that_hangs_is_given_up(
    server: ScriptedRealtime, start_doorbell: Start
) -> None:
    """A successor that hangs is given up after a while; the old connection is kept."""
    server.then(refuse_changes, refuse_changes, ignore)
    harness = start_doorbell(
        timing={"longest_retry": 0.1, "ready_timeout": 1.0, "reply_timeout": 60.0}
    )
    harness.expected_reads = 3

    await harness.rebuilt(Reason.RETRY)
    await harness.ready()

    assert len(server.joins) == 4
    assert harness.reasons == [Reason.REFUSED, Reason.RETRY]
