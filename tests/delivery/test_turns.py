"""Turns: replicas against a Bot API that enforces Telegram's limits.

`make chaos` runs the first test for longer, with the share of the limits that is promised.
"""

import os
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
import structlog

from tests.delivery.fork_server import ForkServer
from tests.integration.kit import until
from tma_sandbox.botapi import Rates
from tma_sandbox.botapi.rate_limiter import RateLimiter

SCALE = float(os.environ.get("PACING_SCALE", "1"))
EVENTS = int(os.environ.get("PACING_EVENTS", "240"))
# What a busy machine may cost of the allowed rate; `make chaos` asks for the promise itself.
SHARE = float(os.environ.get("PACING_SHARE", "0.75"))
BOT, CHAT, GROUP = 30 * SCALE, 1 * SCALE, 20 * SCALE


@pytest.fixture
def limits(world):
    """Telegram's limits, scaled; `refused` counts the messages that broke them."""
    rates = Rates(bot_per_second=BOT, chat_per_second=CHAT, group_per_minute=GROUP)
    world.stack.bot_api.limits = RateLimiter(rates)
    return world.stack.bot_api.limits


@pytest_asyncio.fixture(loop_scope="session")
async def fork_server(tmp_path):
    """Where replicas come from that can be killed."""
    async with ForkServer(tmp_path) as fork_server:
        yield fork_server


SETTINGS = {
    "TELEGRAM_RATE": str(BOT),
    "TELEGRAM_CHAT_RATE": str(CHAT),
    "TELEGRAM_GROUP_RATE": str(GROUP),
    "ALLOW_PAID_BROADCAST": "true",  # or a rate above 30 is a configuration error
}


async def insert_many(world, chats):
    """Insert one event for each of these chats, in this order."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type)"
        " select chat, 'status_changed' from unnest(%s::bigint[]) with ordinality as c (chat, n)"
        " order by n",
        chats,
    )


async def all_sent(world, count, seconds):
    """Wait until Telegram has so many messages; return them."""

    async def there():
        sent = await world.sent()
        return sent if len(sent) >= count else None

    return await until(there, seconds)


def seconds(messages):
    """From the first to the last."""
    return messages[-1]["received_at"] - messages[0]["received_at"]


def rate(messages):
    """Messages per second."""
    return (len(messages) - 1) / seconds(messages)


async def fleet(world, stack, count, **settings):
    """So many bridges that share the work."""
    for _ in range(count):
        await stack.enter_async_context(world.running_bridge(**SETTINGS, **settings))


@pytest.mark.parametrize("replicas", [1, 3])
async def test_a_backlog_goes_out_as_fast_as_telegram_allows(world, limits, replicas):
    """Without one 429, however many send it."""
    chats = [1 + n % (EVENTS // 4) for n in range(EVENTS)]
    await insert_many(world, chats)

    async with AsyncExitStack() as stack:
        await fleet(world, stack, replicas)
        sent = await all_sent(world, EVENTS, 20 + 2 * EVENTS / BOT)

    assert limits.refused == 0
    assert rate(sent) >= SHARE * BOT
    assert len(sent) <= BOT * (seconds(sent) + 1) + 1


async def test_replicas_that_come_and_go_change_nothing(world, limits, fork_server):
    """One is killed in the middle of a backlog, and another is started."""
    chats = [1 + n % (EVENTS // 4) for n in range(EVENTS)]
    environment = world.environment(**SETTINGS, SEND_TIMEOUT="1", LEASE_SECONDS="8")
    await insert_many(world, chats)

    replicas = [await fork_server.start(environment) for _ in range(3)]
    await all_sent(world, EVENTS // 3, 60)
    await replicas[0].kill()
    await fork_server.start(environment)
    rows = await world.settled(EVENTS, seconds=60 + 2 * EVENTS / BOT)

    sent = await world.sent()
    unsure = sum(row["failure"] == "uncertain" for row in rows)
    assert limits.refused == 0
    assert unsure <= 16  # what one process had started
    assert EVENTS - unsure <= len(sent) <= EVENTS


async def test_a_busy_chat_delays_nobody_else(world, limits):
    """Two hundred events for one chat come first; two hundred for others pass them by."""
    others = range(2, 102)
    await insert_many(world, [1] * 200 + [chat for _ in range(2) for chat in others])

    async with world.running_bridge(**SETTINGS):

        async def others_sent():
            sent = await world.sent()
            theirs = [message for message in sent if message["chat_id"] != 1]
            return (sent, theirs) if len(theirs) == 200 else None

        sent, theirs = await until(others_sent, 60)

    busy = len(sent) - len(theirs)
    took = theirs[-1]["received_at"] - sent[0]["received_at"]
    assert limits.refused == 0
    assert busy <= 3 + took * CHAT + 1  # its own limit held it back ...
    assert rate(theirs) >= 0.75 * (BOT - CHAT)  # ... and the others had all the rest


async def test_a_group_gets_its_own_pace(world, limits):
    """Twenty a minute, as many as the bot has groups, and no 429."""
    groups = [-100, -200, -300]
    await insert_many(world, groups * 3)

    async with AsyncExitStack() as stack:
        await fleet(world, stack, 3)
        sent = await all_sent(world, 9, 30)

    assert limits.refused == 0
    assert {message["chat_id"] for message in sent[:3]} == set(groups)


async def test_an_answer_passes_news_by_and_news_goes_on(world, limits):
    """Ten thousand would take minutes; who taps a button gets the answer at once."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type, priority)"
        " select chat, 'status_changed', -1 from generate_series(1, 10000) chat"
    )
    async with AsyncExitStack() as stack:
        await fleet(world, stack, 2)
        await all_sent(world, 10, 20)
        answers = [await answered(world, chat) for chat in range(20_001, 20_009)]

    news = [m for m in await world.sent() if m["chat_id"] <= 10_000]
    assert limits.refused == 0
    assert max(answers) < 1.0
    assert rate(news) >= 0.5 * BOT


async def answered(world, chat):
    """Insert an answer; seconds until it is delivered, by the database's clock."""
    id_ = await world.insert(telegram_id=chat)

    async def delivered():
        row = await world.row(id_)
        return row if row["status"] == "delivered" else None

    row = await until(delivered)
    return (row["delivered_at"] - row["created_at"]).total_seconds()


async def test_news_gets_its_share_while_others_are_many(world, limits):
    """Every tenth turn: slow, and never starved."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type, priority)"
        " select chat, 'status_changed', case when chat <= 100 then -1 else 0 end"
        " from generate_series(1, 400) chat"
    )
    async with world.running_bridge(**SETTINGS):
        sent = await all_sent(world, 120, 60)

    news = sum(message["chat_id"] <= 100 for message in sent[:120])
    assert 8 <= news <= 20


async def test_a_pause_is_known_to_all(world, limits):
    """Telegram tells it one replica; a more urgent row of this chat waits too, whoever has it."""
    await world.fault({"status": 429, "retry_after": 3, "match": {"chat_id": 1}})
    refused = await world.insert(telegram_id=1)

    async def told():
        return (await world.row(refused))["error"]

    async with AsyncExitStack() as stack:
        await fleet(world, stack, 2)
        await until(told)
        await world.insert(telegram_id=1, priority=1)
        await world.insert(telegram_id=2)
        await world.settled(3)
        sent = await world.sent()

    assert [message["chat_id"] for message in sent] == [2, 1, 1]
    assert sent[1]["received_at"] - sent[0]["received_at"] >= 2


async def test_the_new_id_of_a_group_is_known_to_all(world, limits):
    """The next message goes there without a refusal, whoever sends it."""
    await world.fault(
        {
            "status": 400,
            "description": "Bad Request: group chat was upgraded",
            "parameters": {"migrate_to_chat_id": -1007},
        }
    )
    async with world.running_bridge(**SETTINGS):
        await world.insert(telegram_id=-500)
        await world.settled(1)
    async with world.running_bridge(**SETTINGS):
        await world.insert(telegram_id=-500)
        await world.settled(2)

    assert [message["chat_id"] for message in await world.sent()] == [-1007, -1007]


async def test_replicas_whose_limits_differ_say_so(world, limits):
    """By a warning that says what to set; the pace is that of whoever asks."""
    with structlog.testing.capture_logs() as logs:
        async with world.running_bridge(**SETTINGS):
            await world.insert(telegram_id=1)
            await world.settled(1)
            async with world.running_bridge(**{**SETTINGS, "TELEGRAM_RATE": str(BOT / 2)}):
                await world.insert(telegram_id=2)
                await world.settled(2)

    assert any("TELEGRAM_RATE" in line["fix"] for line in logs if line["event"] == "limits_differ")
