"""kill -9 at any moment, then run again: when the lease is over every row is settled or handed on.

A process is held at each point of a row's way by a wire that does not answer, and killed there.
"""

from datetime import timedelta
from functools import partial

import pytest_asyncio

from tests.delivery.fork_server import ForkServer
from tests.delivery.proxy import Trouble
from tests.integration.kit import until

LEASE = 16.0  # longer than it takes to be killed at every point
START = "/rpc/start_tma_events"
BEFORE_THE_FENCE = [
    (START, Trouble.NO_REQUEST),
]
BEHIND_IT_NOT_SENT = [
    ("/rpc/claim_tma_events", Trouble.NO_ANSWER),  # which lets rows pass whose turn is now
    (START, Trouble.NO_ANSWER),
    ("/sendMessage", Trouble.NO_REQUEST),
]
BEHIND_IT_AND_SENT = [
    ("/sendMessage", Trouble.NO_ANSWER),
    ("/rpc/settle_tma_events", Trouble.NO_REQUEST),
]
AFTER_ALL = [("/rpc/settle_tma_events", Trouble.NO_ANSWER)]
EARLIER = 100  # chats of rows that take the turn of another
POINTS = [*BEFORE_THE_FENCE, *BEHIND_IT_NOT_SENT, *BEHIND_IT_AND_SENT, *AFTER_ALL]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def fork_server(tmp_path_factory):
    async with ForkServer(tmp_path_factory.mktemp("logs")) as fork_server:
        yield fork_server


def environment(world, supabase, mode):
    """A process that reaches everything through one wire, with short leases.

    Its regular sweep comes too late to help: what is handed on is so because the lease ends.
    """
    return world.environment(
        SUPABASE_URL=supabase.url,
        TELEGRAM_API_URL=supabase.url,
        DELIVERY=mode,
        SEND_TIMEOUT="1.5",
        LEASE_SECONDS=str(LEASE),
        SWEEP_INTERVAL="300",
        FALLBACK_POLL_INTERVAL="300",
        TELEGRAM_RATE="3",
    )


async def killed_at_every_point(world, supabase, start):
    """One chat and one process for each point.

    Returns the last process, which lives on, and the database's time of the last kill.
    """
    for chat, (path, trouble) in enumerate(POINTS, 1):
        await until(partial(turn_is_free, world))
        if path == START:  # then the next row must wait for its turn, and passes the fence apart
            await world.insert(telegram_id=EARLIER + chat)
        await world.insert(telegram_id=chat)
        with supabase.broken(trouble, path):
            count = supabase.count(path)
            replica = await start()
            await until(partial(held, supabase, path, count + 1))
            if trouble.arrives:  # or it would go away with the process that asked
                await until(partial(carried_out, world, path, chat))
            await replica.kill()
    ((now,),) = [row.values() for row in await world.sql("select now()")]
    return await start(), now


async def held(supabase, path, count):
    return supabase.count(path) >= count


async def turn_is_free(world):
    """Whether the next row may go at once, whatever went before."""
    ((free,),) = [
        row.values()
        for row in await world.sql("select next_turn_at <= clock_timestamp() from bridge.bot_pace")
    ]
    return free


async def carried_out(world, path, chat):
    """Whether the request whose answer is kept back has done what it does."""
    if path == "/sendMessage":
        return chat in [message["chat_id"] for message in await world.sent()]
    (row,) = await world.sql("select * from tma_events where telegram_id = %s", chat)
    return row["settled_at"] if "settle" in path else row["send_started_at"]


async def ended(world):
    """Wait until all rows have ended; those of the points, in their order."""
    rows = await world.settled(len(POINTS) + sum(path == START for path, _ in POINTS), 40)
    return [row for row in rows if row["telegram_id"] < EARLIER]


def endings(rows):
    return [row["failure"] or row["status"] for row in rows]


async def deliveries(world):
    """How many messages each chat got, in the order of the points."""
    chats = [message["chat_id"] for message in await world.sent()]
    return [chats.count(chat) for chat in range(1, len(POINTS) + 1)]


async def test_at_most_once(world, supabase, fork_server):
    """Before the fence the next process sends it; behind it the row says what nobody can know."""
    start = partial(fork_server.start, environment(world, supabase, "at_most_once"))
    last, killed_at = await killed_at_every_point(world, supabase, start)

    rows = await ended(world)
    await last.kill()

    assert endings(rows) == [
        *["delivered"] * len(BEFORE_THE_FENCE),
        *["uncertain"] * len(BEHIND_IT_NOT_SENT),
        *["uncertain"] * len(BEHIND_IT_AND_SENT),
        "delivered",
    ]
    assert await deliveries(world) == [1, 0, 0, 0, 1, 1, 1]
    assert max(row["settled_at"] for row in rows) - killed_at <= timedelta(seconds=LEASE + 5)


async def test_at_least_once(world, supabase, fork_server):
    """Everything arrives; what had arrived when the process died arrives twice."""
    start = partial(fork_server.start, environment(world, supabase, "at_least_once"))
    last, killed_at = await killed_at_every_point(world, supabase, start)

    rows = await ended(world)
    await last.kill()

    assert endings(rows) == ["delivered"] * len(POINTS)
    assert await deliveries(world) == [1, 1, 1, 1, 2, 2, 1]
    assert max(row["settled_at"] for row in rows) - killed_at <= timedelta(seconds=LEASE + 5)
