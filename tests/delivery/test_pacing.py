"""A backlog against a Bot API that enforces Telegram's limits.

`make chaos` runs the first test for longer, with the share of the limits that is promised.
"""

import os

import pytest

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


async def test_a_backlog_goes_out_as_fast_as_telegram_allows(world, limits):
    """Without one 429."""
    chats = [1 + n % (EVENTS // 4) for n in range(EVENTS)]
    await insert_many(world, chats)

    async with world.running_bridge(**SETTINGS):
        sent = await all_sent(world, EVENTS, 20 + 2 * EVENTS / BOT)

    assert limits.refused == 0
    assert rate(sent) >= SHARE * BOT
    assert len(sent) <= BOT * (seconds(sent) + 1) + 1


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

    async with world.running_bridge(**SETTINGS):
        sent = await all_sent(world, 9, 30)

    assert limits.refused == 0
    assert {message["chat_id"] for message in sent[:3]} == set(groups)
