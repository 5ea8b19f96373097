"""Each chat gets its messages in the order of its events, whoever sends them."""

import random
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

from tests.integration.kit import until

CHATS, EACH = 12, 8
FAST = {
    "TELEGRAM_RATE": "1000",
    "TELEGRAM_CHAT_RATE": "100",
    "TELEGRAM_CHAT_BURST": "20",
    "ALLOW_PAID_BROADCAST": "true",
    "CONCURRENCY": "4",  # so that every replica has work
}


async def insert_all(world):
    """For each chat eight events that say which they are, mixed."""
    chats = [chat for chat in range(1, CHATS + 1) for _ in range(EACH)]
    random.Random(7).shuffle(chats)
    await world.sql(
        "insert into tma_events (telegram_id, event_type, payload)"
        " select chat, 'status_changed', jsonb_build_object('new_status', n)"
        " from unnest(%s::bigint[]) with ordinality as c (chat, n) order by n",
        chats,
    )


def by_chat(messages):
    """The numbers of the events that each chat got messages of, in the order in which it did."""
    numbers = defaultdict(list)
    for message in messages:
        numbers[message["chat_id"]].append(int(message["text"].rsplit(" ", 1)[-1]))
    return numbers


def in_order(numbers):
    return all(earlier < later for earlier, later in pairwise(numbers))


def faults(*kinds):
    """Each of these for some of the first messages of every chat."""
    luck = random.Random(11)
    return [
        {**luck.choice(kinds), "match": {"chat_id": chat}}
        for chat in range(1, CHATS + 1)
        for _ in range(2)
    ]


@asynccontextmanager
async def replicas(world, mode):
    """Three bridges that share the work."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(world.running_bridge(**FAST, DELIVERY=mode))
            for _ in range(3)
        ]


def delivered_by(bridge):
    labels = {"lane": "tma_events", "outcome": "delivered"}
    return bridge.metrics.registry.get_sample_value("bridge_events_total", labels)


async def settled(world):
    """Wait until every row is settled."""

    async def done():
        open_rows = await world.sql("select 1 from tma_events where settled_at is null limit 1")
        return not open_rows

    await until(done, 60)


async def test_order_holds_across_replicas_and_through_retries(world):
    """Telegram makes chats wait: each message arrives once and in its place all the same."""
    await world.fault(*faults({"status": 429, "retry_after": 1}))

    async with replicas(world, "at_most_once") as bridges:
        await insert_all(world)
        await settled(world)

    numbers = by_chat(await world.sent())
    assert all(delivered_by(bridge) for bridge in bridges)
    assert [len(numbers[chat]) for chat in range(1, CHATS + 1)] == [EACH] * CHATS
    assert all(in_order(numbers[chat]) for chat in numbers)


async def test_order_holds_around_messages_that_fail(world):
    """What is reported as uncertain or rejected holds nobody up and overtakes nobody."""
    await world.fault(
        *faults(
            {"drop": "before_accept"},
            {"drop": "after_accept"},
            {"status": 403},
            {"status": 429, "retry_after": 1},
        )
    )
    await insert_all(world)

    async with replicas(world, "at_most_once"):
        await settled(world)

    numbers = by_chat(await world.sent())
    assert all(in_order(numbers[chat]) for chat in numbers)


async def test_first_arrivals_are_in_order_where_messages_may_come_twice(world):
    """At least once: a repeated message comes before the next one, not after it."""
    await world.fault(*faults({"drop": "before_accept"}, {"drop": "after_accept"}))
    await insert_all(world)

    async with replicas(world, "at_least_once"):
        await settled(world)

    numbers = by_chat(await world.sent())
    assert [len(set(numbers[chat])) for chat in range(1, CHATS + 1)] == [EACH] * CHATS
    assert any(len(numbers[chat]) > EACH for chat in numbers)
    assert all(numbers[chat] == sorted(numbers[chat]) for chat in numbers)
