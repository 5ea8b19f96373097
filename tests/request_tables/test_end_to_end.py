"""From a Mini App's request to the plan, the message and the reminders, on the real parts."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from statistics import median

import pytest
import pytest_asyncio

from realtime_bridge.request_tables.plans import PlanError
from tests.integration.kit import until
from tests.request_tables.builders import plan, step
from tests.request_tables.harness import bridge_with, insert_request, sent_texts, settled_requests

pytestmark = pytest.mark.asyncio(loop_scope="session")

USER = 4711
NAMED = {"lead_name": "Ann"}


@pytest_asyncio.fixture(loop_scope="session")
async def mini_app(world):
    """A Mini App of the user: the anon key and Telegram's signature."""
    client = await world.mini_app(USER)
    yield client
    await client.postgrest.aclose()


def in_days(days):
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


def in_seconds(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_plan_is_on_the_row_within_half_a_second_and_the_planners_time(world, mini_app):
    """The user reads it with the public key; a message tells the chat; reminders wait."""

    async def planner(request):
        await asyncio.sleep(0.2)
        return plan(step(1, due=in_days(3)), step(2, due=in_days(9)), summary=request.lead_name)

    async with bridge_with(world, planner) as bridge:
        for lead in range(5):
            row = {"lead_id": lead, "payload": NAMED}
            await mini_app.table("plan_requests").insert(row).execute()
            await settled_requests(world, lead + 1)
        texts = await sent_texts(world, 5)

    rows = (await mini_app.table("plan_requests").select("*").execute()).data
    assert all(row["result"]["summary"] == "Ann" and row["attempt"] == 1 for row in rows)
    took = [
        datetime.fromisoformat(row["completed_at"]) - datetime.fromisoformat(row["created_at"])
        for row in rows
    ]
    assert median(took) < timedelta(seconds=0.2 + 0.5)
    rung = {"lane": "plan_requests", "source": "broadcast"}
    assert bridge.metrics.registry.get_sample_value("bridge_wakeups_total", rung) >= 5
    assert texts == ["Plan for Ann is ready: 2 steps, first due in 3 days.\nAnn"] * 5
    waiting = await world.sql("select * from tma_events where status = 'pending'")
    assert len(waiting) == 10
    assert all(row["deliver_after"] > datetime.now(UTC) for row in waiting)


async def test_without_a_planner_of_your_own_the_playbook_plans(world):
    """It chooses by the lead's status in the database."""
    await world.sql("create table leads (id bigint primary key, prospect_name text, status text)")
    try:
        await world.sql("insert into leads values (7, 'Bo', 'won')")
        async with bridge_with(world):
            await insert_request(world)
            (row,) = await settled_requests(world)
            texts = await sent_texts(world, 1)
    finally:
        await world.sql("drop table leads")

    assert row["result"]["summary"] == "Start well with Bo."
    assert texts[0].startswith("Plan for Bo is ready: 3 steps, first due today.")


async def test_reminders_come_at_their_time(world):
    """Overdue ones at once, after the plan; one that is due in seconds, on time."""

    def planner(_):
        return plan(
            step("a", "Call", due=in_days(-2)),
            step("b", "Write", due=in_seconds(2)),
            step("c", "Wait", due=in_days(30)),
        )

    async with bridge_with(world, planner):
        await insert_request(world, payload=NAMED)
        texts = await sent_texts(world, 3)

    assert texts == [
        "Plan for Ann is ready: 3 steps, first due 2 days ago.",
        "Reminder for Ann: Step a — Call (due 2 days ago)",
        "Reminder for Ann: Step b — Write (due today)",
    ]
    (soon,) = await world.sql("select * from tma_events where payload ->> 'step_id' = 'b'")
    assert timedelta(0) <= soon["delivered_at"] - soon["deliver_after"] < timedelta(seconds=5)
    (later,) = await world.sql("select * from tma_events where payload ->> 'step_id' = 'c'")
    assert later["status"] == "pending"


async def test_a_new_plan_takes_the_place_of_the_old_one(world, mini_app):
    """Sent reminders are not repeated, waiting ones are withdrawn; a completed step gets none."""
    past, later = in_days(-1), in_days(5)
    first = plan(step(1, due=past), step(2, due=later), step(3, due=in_days(6)))
    second = plan(step(1, due=past), step(2, due=later), step(4, due=in_days(7)))
    plans = iter([first, second])

    async with bridge_with(world, lambda _: next(plans)):
        for count in (1, 2):
            await mini_app.table("plan_requests").insert({"lead_id": 7}).execute()
            await settled_requests(world, count)
        done = {"event_type": "step_completed", "lead_id": 7, "payload": {"step_id": 2}}
        await mini_app.table("tma_events").insert(done).execute()
        await sent_texts(world, 4)

    reminders = await world.sql(
        "select payload ->> 'step_id' as step, status from tma_events"
        " where event_type = 'step_due' order by id"
    )
    assert [(row["step"], row["status"]) for row in reminders] == [
        ("1", "delivered"),
        ("4", "pending"),
    ]


async def hangs(_):
    await asyncio.Event().wait()


async def breaks(_):
    raise ConnectionError("the secret detail")


async def declines(_):
    raise PlanError("Ann has asked not to be called.")


async def babbles(_):
    return {"steps": "call her"}


@pytest.mark.parametrize(
    ("planner", "reason"),
    [
        (hangs, "it took too long"),
        (breaks, "something went wrong"),
        (declines, "Ann has asked not to be called."),
        (babbles, "there was no usable answer"),
    ],
)
async def test_a_planner_that_fails_ends_the_request_with_a_reason(world, planner, reason):
    """The row and the chat have the same sentence; nobody is left waiting."""
    async with bridge_with(world, planner, PLANNER_TIMEOUT="0.5"):
        await insert_request(world, payload=NAMED)
        (row,) = await settled_requests(world)
        texts = await sent_texts(world, 1)

    assert (row["status"], row["error"], row["result"]) == ("failed", reason, None)
    assert texts == [f"Plan for Ann could not be made. Reason: {reason}"]


async def test_a_slow_planner_does_not_delay_confirmations(world):
    """With fifty requests in hand or waiting, events are sent as usual."""
    release, in_work = asyncio.Event(), 0

    async def slow(_):
        nonlocal in_work
        in_work += 1
        await release.wait()
        return plan()

    async with bridge_with(world, slow):
        for chat in range(50):
            await insert_request(world, 1000 + chat)

        async def busy():
            return in_work == 8

        await until(busy)
        for chat in range(20):
            await world.insert(chat + 1, payload={"new_status": "Won"})
        rows = await world.settled(20)
        still_at_work = await world.sql("select id from plan_requests where settled_at is null")
        release.set()
        await settled_requests(world, 50)

    assert all(row["status"] == "delivered" for row in rows)
    assert len(still_at_work) == 50
    delays = [row["delivered_at"] - row["created_at"] for row in rows]
    assert median(delays) < timedelta(seconds=10)


async def test_a_planner_that_blocks_its_thread_does_not_delay_confirmations(world):
    """A plain function may sleep: each call has a thread of its own."""
    release = threading.Event()

    def blocks(_):
        release.wait(60)
        return plan()

    try:
        async with bridge_with(world, blocks, PLANNER_CONCURRENCY="50"):
            for chat in range(50):
                await insert_request(world, 1000 + chat)

            async def all_in_hand():
                rows = await world.sql("select id from plan_requests where status = 'processing'")
                return len(rows) == 50

            await until(all_in_hand)
            await world.insert(1, payload={"new_status": "Won"})
            (row,) = await world.settled(1)
            release.set()
            await settled_requests(world, 50)
    finally:
        release.set()

    assert row["status"] == "delivered"
    assert row["delivered_at"] - row["created_at"] < timedelta(seconds=10)


async def test_two_bridges_plan_each_request_once(world):
    """Only the bridge that claimed a request answers it."""
    planned = []

    async def planner(request):
        planned.append(request.id)
        await asyncio.sleep(0.01)
        return plan()

    async with bridge_with(world, planner), bridge_with(world, planner):
        for chat in range(30):
            await insert_request(world, 1000 + chat)
        rows = await settled_requests(world, 30)
        await sent_texts(world, 30)

    assert sorted(planned) == [row["id"] for row in rows]
    assert {row["attempt"] for row in rows} == {1}
    events = await world.sql("select telegram_id from tma_events where event_type = 'plan_ready'")
    assert len({row["telegram_id"] for row in events}) == len(events) == 30


async def test_a_bridge_that_slept_past_its_lease_cannot_answer_any_more(world):
    """Another attempt has answered meanwhile: there is one result, and one message."""
    release, calls = asyncio.Event(), []

    async def planner(request):
        calls.append(request.attempt)
        if request.attempt == 1:
            await release.wait()
        return plan(summary=f"of attempt {request.attempt}")

    async with bridge_with(world, planner, SWEEP_INTERVAL="1", FALLBACK_POLL_INTERVAL="1"):
        await insert_request(world, payload=NAMED)

        async def in_hand():
            return calls == [1]

        await until(in_hand)
        await world.sql("update plan_requests set claimed_at = now() - interval '1 hour'")
        await settled_requests(world)
        release.set()
        await sent_texts(world, 1)

    (row,) = await world.sql("select * from plan_requests")
    assert row["result"]["summary"] == "of attempt 2"
    assert calls == [1, 2]
    ready = await world.sql("select id from tma_events where event_type = 'plan_ready'")
    assert len(ready) == 1


async def test_a_stop_hands_unfinished_requests_back(world):
    """The next bridge can plan them at once; no attempt is used up."""
    in_hand = asyncio.Event()

    async def planner(request):
        in_hand.set()
        await hangs(request)

    async with bridge_with(world, planner, STOP_GRACE="0.1"):
        await insert_request(world)
        await in_hand.wait()

    (row,) = await world.sql("select status, retries from plan_requests")
    assert (row["status"], row["retries"]) == ("pending", 0)


DEADLY = """
import asyncio, pathlib

async def make_plan(request):
    pathlib.Path("in_work").touch()
    await asyncio.sleep(600)
"""


async def test_what_a_killed_bridge_had_in_hand_is_planned_by_another(world, start, tmp_path):
    """After kill -9 in the middle of a plan, it is made again once the lease is over."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    bridge = await start("run", env=world.environment(PLANNER="deadly:make_plan"))
    await bridge.says("started")
    await insert_request(world, payload=NAMED)

    async def in_work():
        return (tmp_path / "in_work").exists()

    await until(in_work)
    await bridge.kill()
    (left,) = await world.sql("select status, attempt from plan_requests")
    await world.sql("update plan_requests set claimed_at = claimed_at - interval '1 hour'")

    async with bridge_with(world, lambda _: plan()):
        (row,) = await settled_requests(world)
        texts = await sent_texts(world, 1)

    assert left == {"status": "processing", "attempt": 1}
    assert (row["status"], row["attempt"], row["retries"]) == ("completed", 2, 1)
    assert texts == ["Plan for Ann is ready: 1 step."]


async def test_a_request_that_kills_every_bridge_ends_failed(world):
    """After MAX_ATTEMPTS nobody tries again, and the user reads why."""
    asked = []
    await insert_request(world, payload=NAMED, attempt=5, retries=5)

    async with bridge_with(world, asked.append):
        (row,) = await settled_requests(world)
        texts = await sent_texts(world, 1)

    reason = "it was tried 5 times without success"
    assert (row["status"], row["error"]) == ("failed", reason)
    assert texts == [f"Plan for Ann could not be made. Reason: {reason}"]
    assert asked == []


async def test_a_planner_that_cannot_be_imported_ends_the_start(world, start):
    """Exit code 78, one line that says what is wrong, no traceback."""
    bridge = await start("run", env=world.environment(PLANNER="nowhere:make_plan"))

    assert await bridge.ended() == 78
    assert "PLANNER=nowhere:make_plan cannot be used: there is no module nowhere" in bridge.output
    assert "Traceback" not in bridge.output


async def test_with_the_planner_off_requests_are_left_to_others(world):
    """Events go on as usual."""
    async with bridge_with(world, PLANNER="off"):
        await insert_request(world)
        await world.insert(1, payload={"new_status": "Won"})
        await world.settled(1)

    (row,) = await world.sql("select status, attempt from plan_requests")
    assert row == {"status": "pending", "attempt": 0}
