"""What a user sees of a planner's progress: one message that changes, on the real parts."""

import asyncio

import pytest

from realtime_bridge.request_tables.plans import PlanError
from tests.integration.kit import until
from tests.request_tables.builders import plan
from tests.request_tables.harness import bridge_with, insert_request, settled_requests
from tma_sandbox.botapi.rate_limiter import RateLimiter, Rates

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMED = {"lead_name": "Ann"}
READY = "Plan for Ann is ready: 1 step."
MAKING = "Making a plan for Ann: "


async def told(world):
    """Wait until nothing is left to tell; the messages in all chats."""

    async def nothing_waits():
        return not await world.sql("select id from tma_events where settled_at is null")

    await until(nothing_waits)
    return await world.sent()


def texts_of(message):
    """What the user read there, one after the other."""
    return [*(version["text"] for version in message["history"]), message["text"]]


async def shows(world, text):
    """Wait until the one message reads so."""

    async def does():
        return [message["text"] for message in await world.sent()] == [text]

    await until(does)


async def test_twenty_reports_in_five_seconds_are_one_message_that_becomes_the_plan(world):
    """It is edited within Telegram's limits, and the last text wins."""
    limits = world.stack.bot_api.limits = RateLimiter(Rates())

    async def planner(request):
        for number in range(20):
            await request.progress(f"{number} of 20 read")
            await asyncio.sleep(0.25)
        return plan()

    async with bridge_with(world, planner):
        await insert_request(world, payload=NAMED)
        await settled_requests(world)
        (message,) = await told(world)

    texts = texts_of(message)
    rows = await world.sql("select * from tma_events where event_type = 'plan_progress'")
    assert texts[-1] == READY
    numbers = [int(text.removeprefix(MAKING).split()[0]) for text in texts[:-1]]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 3
    assert len(rows) <= 7
    assert limits.refused == 0


async def test_a_failure_takes_the_place_of_the_progress(world):
    """The user reads why, where he read what was being done."""

    async def planner(request):
        await request.progress("Reading")
        await shows(world, MAKING + "Reading")
        raise PlanError("Ann has asked not to be called.")

    async with bridge_with(world, planner):
        await insert_request(world, payload=NAMED)
        await settled_requests(world)
        (message,) = await told(world)

    reason = "Plan for Ann could not be made. Reason: Ann has asked not to be called."
    assert texts_of(message) == [MAKING + "Reading", reason]


async def test_a_message_that_the_user_deleted_is_sent_anew(world):
    """The plan reaches the chat all the same, once."""

    async def planner(request):
        await request.progress("Reading")
        await shows(world, MAKING + "Reading")
        world.stack.bot_api.sent.clear()
        return plan()

    async with bridge_with(world, planner):
        await insert_request(world, payload=NAMED)
        await settled_requests(world)
        (message,) = await told(world)

    assert texts_of(message) == [READY]


async def test_the_progress_of_a_bridge_that_slept_past_its_lease_is_not_told(world):
    """Another attempt has answered meanwhile, and the message stays as that left it."""
    release, over, attempts = asyncio.Event(), asyncio.Event(), []

    async def planner(request):
        attempts.append(request.attempt)
        await request.progress(f"attempt {request.attempt}")
        await shows(world, f"{MAKING}attempt {request.attempt}")
        if request.attempt == 1:
            await release.wait()
            await request.progress("late")

            async def refused():
                return request._progress._ended

            await until(refused)
            over.set()
        return plan()

    async with bridge_with(world, planner, SWEEP_INTERVAL="1", FALLBACK_POLL_INTERVAL="1"):
        await insert_request(world, payload=NAMED)

        async def first_is_told():
            return attempts == [1] and await world.sent()

        await until(first_is_told)
        await world.sql("update plan_requests set claimed_at = now() - interval '1 hour'")
        await settled_requests(world)
        release.set()
        await over.wait()
        await told(world)
    (message,) = await world.sent()

    assert attempts == [1, 2]
    assert texts_of(message) == [MAKING + "attempt 1", MAKING + "attempt 2", READY]


DEADLY = """
import asyncio

async def make_plan(request):
    await request.progress("Reading")
    await asyncio.sleep(600)
"""


async def test_who_takes_over_from_a_killed_bridge_goes_on_in_its_message(world, start, tmp_path):
    """After kill -9 in the middle there is no second message."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    bridge = await start("run", env=world.environment(PLANNER="deadly:make_plan"))
    await bridge.says("started")
    await insert_request(world, payload=NAMED)

    async def written_down():  # a kill before that leaves a message that nobody knows of: uncertain
        return await world.sql("select id from tma_events where status = 'delivered'")

    await until(written_down)
    await bridge.kill()
    await world.sql("update plan_requests set claimed_at = claimed_at - interval '1 hour'")

    async def planner(request):
        await request.progress("Reading again")
        await shows(world, MAKING + "Reading again")
        return plan()

    async with bridge_with(world, planner):
        (row,) = await settled_requests(world)
        (message,) = await told(world)

    assert row["attempt"] == 2
    assert texts_of(message) == [MAKING + "Reading", MAKING + "Reading again", READY]
