"""Pacing keeps Telegram's limits and nothing below them, in virtual time."""

import asyncio
from itertools import pairwise

import pytest

from realtime_bridge.telegram.pacing import PATIENCE_SECONDS, Limits, Pacing
from tests.unit.virtual_time import in_virtual_time


async def send_all(pacing, chats, within=1000.0, workers=64):
    """Send one message to each of `chats`, in order, and return [(time, chat)]."""
    loop = asyncio.get_running_loop()
    waiting, sent = list(reversed(chats)), []

    async def worker():
        while waiting:
            chat = waiting.pop()
            while (wait := await pacing.turn(chat, within)) is not None:
                await asyncio.sleep(wait)
            sent.append((loop.time(), chat))
            pacing.sent(chat)

    await asyncio.gather(*(worker() for _ in range(workers)))
    return sent


def new_pacing(limits=None):
    return Pacing(limits or Limits(), clock=asyncio.get_running_loop().time)


def most_in_any(seconds, times):
    """The most sends that fall into any window of so many seconds."""
    return max(sum(1 for t in times if start <= t < start + seconds) for start in times)


def test_a_backlog_goes_out_at_the_allowed_rate_and_never_above_it():
    """2,000 events to 500 chats leave at 95 % or more of 30/s, with no second above it."""

    async def scenario():
        chats = [chat for _ in range(4) for chat in range(1, 501)]

        sent = await send_all(new_pacing(), chats)

        times = [time for time, _ in sent]
        rate = len(times) / (times[-1] - times[0])
        assert rate >= 0.95 * 30
        assert most_in_any(1.0, times) <= 30

    in_virtual_time(scenario())


def test_one_chat_gets_a_short_burst_and_then_one_message_a_second():
    """The fourth message to a private chat waits, and so does each after it."""

    async def scenario():
        sent = await send_all(new_pacing(), [7] * 6, workers=1)

        times = [time for time, _ in sent]
        assert times[2] < 0.2
        assert all(later - earlier >= 1.0 for earlier, later in pairwise(times[3:]))

    in_virtual_time(scenario())


def test_a_group_gets_no_more_than_twenty_messages_in_any_minute():
    """Groups have negative ids and a limit of their own."""

    async def scenario():
        sent = await send_all(new_pacing(), [-100] * 45, workers=1)

        assert most_in_any(60.0, [time for time, _ in sent]) <= 20

    in_virtual_time(scenario())


def test_a_busy_chat_delays_nobody_else():
    """While one chat waits for its next second, another goes at once."""

    async def scenario():
        pacing = new_pacing()
        for _ in range(3):
            await pacing.turn(1, 10)
        busy = asyncio.create_task(pacing.turn(1, 10))
        await asyncio.sleep(0.1)
        before = asyncio.get_running_loop().time()

        assert await pacing.turn(2, 10) is None

        assert asyncio.get_running_loop().time() - before < 0.1
        assert await busy is None

    in_virtual_time(scenario())


def test_a_row_whose_chat_must_wait_long_gives_its_slot_back():
    """The caller is told at once when to ask again, and then it is time."""

    async def scenario():
        pacing = new_pacing()
        await pacing.turn(-5, 10)

        wait = await pacing.turn(-5, 10)

        assert wait == pytest.approx(3.125, abs=0.01)
        await asyncio.sleep(wait)
        assert await pacing.turn(-5, 10) is None

    in_virtual_time(scenario())


def test_a_turn_of_the_bot_that_does_not_come_costs_the_chat_nothing():
    """The row is handed back, and its chat may send as much as before."""

    async def scenario():
        pacing = new_pacing(Limits(bot_per_second=0.1, chat_burst=1))
        await pacing.turn(1, 10)
        await pacing.turn(2, 10)

        assert await pacing.turn(3, 1.0) == PATIENCE_SECONDS

        await asyncio.sleep(15)
        before = asyncio.get_running_loop().time()
        assert await pacing.turn(3, 10) is None
        assert asyncio.get_running_loop().time() - before < 0.1

    in_virtual_time(scenario())


def test_messages_are_counted_from_when_they_arrived():
    """One that took long is not followed sooner because the way was quick for the next."""

    async def scenario():
        loop, pacing, arrived = asyncio.get_running_loop(), new_pacing(), []
        for way in (0.9, 0.01, 0.01, 0.01, 0.01):
            await pacing.turn(1, 10)
            await asyncio.sleep(way)
            arrived.append(loop.time())
            pacing.sent(1)

        assert most_in_any(1.0, arrived) <= 3
        assert arrived[3] - arrived[0] >= 1.0

    in_virtual_time(scenario())


def test_a_told_pause_stops_its_chat_for_as_long_and_no_other():
    """429 with retry_after 30: that chat waits 30 seconds, others go on."""

    async def scenario():
        pacing = new_pacing()
        pacing.pause(1, 30.0)

        assert await pacing.turn(2, 10) is None
        assert await pacing.turn(1, 10) == 30.0
        assert pacing.bot_pause == 0.0
        await asyncio.sleep(30)
        assert await pacing.turn(1, 10) is None

    in_virtual_time(scenario())


def test_several_chats_told_at_once_mean_the_whole_bot():
    """Telegram's 429 does not say whom it means; three chats within moments say it."""

    async def scenario():
        pacing = new_pacing()
        for chat in (1, 2, 3):
            pacing.pause(chat, 20.0)

        assert pacing.bot_pause == 20.0
        assert await pacing.turn(4, 10) == 20.0

    in_virtual_time(scenario())


def test_paid_broadcast_reaches_its_rate():
    """1,000 messages a second are paced at 95 % of that or more."""

    async def scenario():
        sent = await send_all(
            new_pacing(Limits(bot_per_second=1000.0)), list(range(1, 3001)), workers=200
        )

        times = [time for time, _ in sent]
        assert len(times) / (times[-1] - times[0]) >= 950

    in_virtual_time(scenario())
