"""Supabase goes away, answers nonsense, or does not answer: nothing is lost, nothing sent twice."""

import asyncio
from functools import partial

import aiohttp
import pytest

from realtime_bridge.database import rpc
from realtime_bridge.worker import condition
from tests.delivery.proxy import Trouble
from tests.integration.kit import until

REST = "/rest/"
CLAIM, START, SETTLE, SWEEP = (
    "/rpc/claim_tma_events",
    "/rpc/start_tma_events",
    "/rpc/settle_tma_events",
    "/rpc/sweep_tma",
)
EVERY_STEP = [CLAIM, START, SETTLE, SWEEP]
LEASE = 8.0  # the shortest that the send timeout allows


def settings(supabase, **changes):
    """A bridge that reaches Supabase through the wire, and whose leases are short."""
    return {
        "SUPABASE_URL": supabase.url,
        "SEND_TIMEOUT": "1.5",
        "LEASE_SECONDS": str(LEASE),
        "FALLBACK_POLL_INTERVAL": "0.5",
        **changes,
    }


@pytest.fixture
def impatient(monkeypatch):
    """Wait for an answer of the database no longer than half a second."""
    monkeypatch.setattr(rpc, "TIMEOUT", aiohttp.ClientTimeout(total=0.5))


async def assert_delivered_once(world, count=1):
    """Wait for the end of all rows; each was sent once, and its row says so."""
    rows = await world.settled(count)
    sent = await world.sent()
    assert [(row["status"], row["failure"]) for row in rows] == [("delivered", None)] * count
    assert sorted(row["message_id"] for row in rows) == sorted(m["message_id"] for m in sent)
    return rows


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_page_of_the_gateway_instead_of_an_answer(world, supabase, status):
    """At every step of a row's way: tried again."""
    async with world.running_bridge(**settings(supabase)):
        for function in EVERY_STEP:
            supabase.trouble(Trouble.PAGE, function, status=status)
        await world.insert()
        await assert_delivered_once(world)


async def test_calls_that_do_not_arrive(world, supabase):
    """At every step the connection is reset before the database heard of it."""
    async with world.running_bridge(**settings(supabase)):
        for function in EVERY_STEP:
            supabase.trouble(Trouble.LOST_REQUEST, function)
        await insert_two_chats(world)
        await assert_delivered_once(world, 2)


async def test_calls_that_are_never_answered(world, supabase, impatient):
    """Every step times out once."""
    async with world.running_bridge(**settings(supabase)):
        for function in EVERY_STEP:
            supabase.trouble(Trouble.NO_REQUEST, function)
        await insert_two_chats(world)
        await assert_delivered_once(world, 2)


async def test_claims_whose_answers_are_lost(world, supabase, monkeypatch):
    """Committed, and nobody knows of it: the same claim is asked for until it is answered."""
    monkeypatch.setattr(condition, "WAIT_CAP_SECONDS", 0.1)
    async with world.running_bridge(**settings(supabase, LEASE_SECONDS="120")):
        await until(lambda: no_more_claims(supabase))
        before = supabase.count(CLAIM)
        supabase.trouble(Trouble.LOST_ANSWER, CLAIM, times=10)
        for chat in range(1, 6):
            await world.insert(telegram_id=chat)
        await until(partial(asked, supabase, CLAIM, before + 11))
        rows = await world.settled(5, seconds=2)
        sent = await world.sent()

    assert [row["status"] for row in rows] == ["delivered"] * 5
    assert [row["attempt"] for row in rows] == [1] * 5
    assert len(sent) == 5


async def test_a_stop_that_comes_before_the_answer_to_a_claim(world, supabase):
    """What it took was started, and is handed back: no lease is waited for, nothing is in doubt."""
    async with world.running_bridge(**settings(supabase, LEASE_SECONDS="120")):
        await until(lambda: no_more_claims(supabase))
        supabase.trouble(Trouble.LOST_ANSWER, CLAIM)
        id_ = await world.insert()
        await until(lambda: claimed(world, id_))
    row = await world.row(id_)

    assert (row["status"], row["send_started_at"]) == ("pending", None)
    assert await world.sent() == []


async def insert_two_chats(world):
    """Two rows that become visible at once, for two chats."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type)"
        " select chat, 'status_changed' from generate_series(1, 2) chat"
    )


async def no_more_claims(supabase):
    """The bells' getting ready leads to claims of its own, one of which would lose its answer."""
    before = supabase.asked.copy()
    await asyncio.sleep(0.5)
    return supabase.asked == before


async def claimed(world, id_):
    return (await world.row(id_))["status"] == "processing"


def seconds_to_delivery(row):
    return (row["delivered_at"] - row["created_at"]).total_seconds()


async def test_a_start_whose_answer_is_lost(world, supabase):
    """The fence is written, but the worker knows that it did not send: no lease is waited for."""
    async with world.running_bridge(**settings(supabase, TELEGRAM_RATE="4")):
        supabase.trouble(Trouble.LOST_ANSWER, START)
        await insert_two_chats(world)  # the second must wait for its turn, and so pass the fence
        _, row = await assert_delivered_once(world, 2)

    assert row["attempt"] == 2
    assert row["retries"] == 0
    assert seconds_to_delivery(row) < LEASE


async def test_a_settle_whose_answer_is_lost(world, supabase):
    """It is asked again, and the database says that it stands."""
    async with world.running_bridge(**settings(supabase)):
        supabase.trouble(Trouble.LOST_ANSWER, SETTLE, times=2)
        await world.insert()
        (row,) = await assert_delivered_once(world)
        await until(lambda: asked(supabase, SETTLE, 3))

    assert row["attempt"] == 1


async def asked(supabase, function, times):
    return supabase.count(function) >= times


async def test_an_outage_longer_than_the_lease(world, supabase):
    """The message was sent and nobody could write it down: the outcome is kept until it can be."""
    async with world.running_bridge(**settings(supabase, SWEEP_INTERVAL="1")):
        with supabase.broken(Trouble.PAGE, SETTLE):
            id_ = await world.insert()
            await until(lambda: asked(supabase, SETTLE, 1))
            with supabase.broken(Trouble.PAGE, REST):
                await asyncio.sleep(LEASE + 1)
        (row,) = await assert_delivered_once(world)

    assert row["id"] == id_
    assert row["attempt"] == 1


async def test_while_it_is_away_it_is_asked_ever_less_often(world, supabase):
    """No busy loop, and what is inserted meanwhile goes out when it is back."""
    async with world.running_bridge(**settings(supabase)):
        calls = supabase.count(CLAIM) + supabase.count(SWEEP)
        with supabase.broken(Trouble.PAGE, REST):
            for chat in range(1, 6):
                await world.insert(telegram_id=chat)
            await asyncio.sleep(5)
        calls = supabase.count(CLAIM) + supabase.count(SWEEP) - calls
        await assert_delivered_once(world, 5)

    assert 3 <= calls <= 10


async def test_nobody_listening(world, supabase):
    """The gateway is gone and comes back; the doorbell was lost with it."""
    async with world.running_bridge(**settings(supabase)) as bridge:
        await supabase.refuse()
        for chat in range(1, 6):
            await world.insert(telegram_id=chat)
        await until(lambda: unready(bridge))
        await supabase.serve()
        await assert_delivered_once(world, 5)

        await until(lambda: ready(bridge))


async def unready(bridge):
    return not bridge.readiness()[0]


async def ready(bridge):
    return bridge.readiness()[0]


async def test_two_replicas_and_a_database_that_is_cut_off_again_and_again(world, supabase):
    """Whatever was under way at a cut: everything arrives once."""
    fast = {"TELEGRAM_RATE": "1000", "ALLOW_PAID_BROADCAST": "true"}
    async with (
        world.running_bridge(**settings(supabase, **fast)),
        world.running_bridge(**settings(supabase, **fast)),
    ):
        for trouble in (Trouble.LOST_REQUEST, Trouble.LOST_ANSWER, Trouble.PAGE) * 2:
            await world.sql(
                "insert into tma_events (telegram_id, event_type)"
                " select chat, 'status_changed' from generate_series(1, 20) chat"
            )
            await until(partial(asked, supabase, SETTLE, supabase.count(SETTLE) + 1))
            with supabase.broken(trouble, REST):
                await asyncio.sleep(0.3)
        await assert_delivered_once(world, 120)
