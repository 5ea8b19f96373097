"""What becomes of the rows when sending goes wrong, in both delivery modes."""

import asyncio
from functools import partial

import pytest
import structlog

from realtime_bridge.worker import pump
from tests.delivery.proxy import Trouble
from tests.integration.kit import until

ONCE, LEAST = "at_most_once", "at_least_once"
BOTH_MODES = pytest.mark.parametrize("mode", [ONCE, LEAST])
UNCLEAR = [
    {"status": 502, "html": True},
    {"status": 500},
    {"drop": "before_accept"},
    {"hang": "before_accept"},
    {"drop": "after_accept"},
    {"hang": "after_accept"},
]
ACCEPTED = [4, 5]  # the last two: Telegram has the message, the bridge does not know


def settings(telegram, mode=ONCE, **changes):
    """A bridge that reaches Telegram through the wire, and gives up waiting soon."""
    return {
        "TELEGRAM_API_URL": telegram.url,
        "DELIVERY": mode,
        "SEND_TIMEOUT": "2",
        **changes,
    }


async def insert_each(world, faults):
    """One chat for each fault; the ids."""
    await world.fault(*({**fault, "match": {"chat_id": n}} for n, fault in enumerate(faults, 1)))
    return [await world.insert(telegram_id=n) for n in range(1, len(faults) + 1)]


def failures(rows):
    return [(row["status"], row["failure"]) for row in rows]


@BOTH_MODES
async def test_a_refusal_fails_the_row_and_says_why(world, telegram, mode):
    """Telegram's own words are in the error."""
    refusals = [
        {"status": 403},
        {"status": 400, "description": "Bad Request: chat not found"},
        {"status": 400, "description": "Bad Request: message is too long"},
    ]
    async with world.running_bridge(**settings(telegram, mode)):
        await insert_each(world, refusals)
        rows = await world.settled(3)

    assert failures(rows) == [
        ("failed", "blocked"),
        ("failed", "chat_not_found"),
        ("failed", "rejected"),
    ]
    assert [row["error"] for row in rows] == [
        "Forbidden: bot was blocked by the user",
        "Bad Request: chat not found",
        "Bad Request: message is too long",
    ]
    assert await world.sent() == []


async def test_at_most_once_reports_what_is_unclear(world, telegram):
    """Six ways not to know, six rows that say so, and no second request for any."""
    async with world.running_bridge(**settings(telegram, ONCE)):
        await insert_each(world, UNCLEAR)
        rows = await world.settled(len(UNCLEAR))

    assert failures(rows) == [("failed", "uncertain")] * len(UNCLEAR)
    assert all(row["error"] for row in rows)
    assert sorted(m["chat_id"] - 1 for m in await world.sent()) == ACCEPTED
    assert telegram.count("/sendMessage") == len(UNCLEAR)


async def test_at_least_once_sends_it_again(world, telegram):
    """Every message arrives; the ones that had arrived already arrive twice."""
    async with world.running_bridge(**settings(telegram, LEAST)):
        await insert_each(world, UNCLEAR)
        rows = await world.settled(len(UNCLEAR))

    chats = sorted(message["chat_id"] - 1 for message in await world.sent())
    assert failures(rows) == [("delivered", None)] * len(UNCLEAR)
    assert [row["retries"] for row in rows] == [1] * len(UNCLEAR)
    assert chats == sorted([0, 1, 2, 3, 4, 5, *ACCEPTED])


async def test_at_least_once_ends_with_a_reason_too(world, telegram):
    """When the attempts are used up the row says that it may have been sent."""
    async with world.running_bridge(**settings(telegram, LEAST, MAX_ATTEMPTS="2")):
        await insert_each(world, [{"status": 500, "times": None}])
        (row,) = await world.settled(1)

    assert failures([row]) == [("failed", "exhausted")]
    assert row["error"].startswith("2 attempts; last: may have been sent: ")
    assert telegram.count("/sendMessage") == 2


@BOTH_MODES
async def test_nothing_is_lost_while_nobody_listens_at_telegram(world, telegram, mode):
    """No connection means nothing was sent: the row waits and is sent once."""
    async with world.running_bridge(**settings(telegram, mode)):
        await telegram.refuse()
        id_ = await world.insert()

        async def tried():
            return (await world.row(id_))["retries"]

        await until(tried)
        await telegram.serve()
        (row,) = await world.settled(1)

    assert failures([row]) == [("delivered", None)]
    assert len(await world.sent()) == 1


@BOTH_MODES
async def test_a_pause_is_obeyed_and_costs_no_attempt(world, telegram, mode):
    """The chat waits as long as Telegram says, and everybody else is served meanwhile."""
    await world.fault({"status": 429, "retry_after": 2, "match": {"chat_id": 1}})
    async with world.running_bridge(**settings(telegram, mode)):
        first = await world.insert(telegram_id=1)

        async def refused():
            return (await world.row(first))["error"]

        assert await until(refused) == "Telegram: retry after 2 s"
        for chat in (1, 2, 3):
            await world.insert(telegram_id=chat)
        rows = await world.settled(4)

    sent = await world.sent()
    told_at = rows[0]["created_at"].timestamp()
    assert failures(rows) == [("delivered", None)] * 4
    assert [row["retries"] for row in rows] == [0] * 4
    chats = [message["chat_id"] for message in sent]
    assert (set(chats[:2]), chats[2:]) == ({2, 3}, [1, 1])  # no order among chats is promised
    assert sent[1]["received_at"] - told_at < 2
    assert sent[2]["received_at"] - told_at >= 2
    assert telegram.count("/sendMessage") == 5


async def test_an_outage_costs_only_what_was_under_way(world, telegram):
    """Telegram is cut off for a while: the backlog waits until a harmless call is answered."""
    async with world.running_bridge(**settings(telegram, CONCURRENCY="4")) as bridge:
        with telegram.broken(Trouble.LOST_REQUEST):
            for chat in range(1, 41):
                await world.insert(telegram_id=chat)
            (reason,) = await until(partial(unready, bridge))
            await asyncio.sleep(2)
            sends, probes = telegram.count("/sendMessage"), telegram.count("/getMe")
        rows = await world.settled(40)

    uncertain = [row for row in rows if row["failure"] == "uncertain"]
    assert reason.startswith("Telegram does not answer")
    assert len(uncertain) <= sends <= 4
    assert probes <= 1 + 5  # one of them at the start
    assert len(await world.sent()) == 40 - len(uncertain)


async def test_a_wrong_token_keeps_the_rows_and_says_so_loudly(world, telegram, monkeypatch):
    """The token is revoked while the bridge runs: nothing fails, and nothing spins."""
    monkeypatch.setattr(pump, "HALT_SECONDS", 0.5)
    await world.fault({"status": 401, "times": None})
    with structlog.testing.capture_logs() as logs:
        async with world.running_bridge(**settings(telegram)) as bridge:
            for chat in (1, 2, 3):
                await world.insert(telegram_id=chat)

            (reason,) = await until(partial(unready, bridge))
            asked = telegram.count("/sendMessage")
            await until(lambda: more_requests(telegram, asked + 2))
            rows = await world.sql("select status, attempt, retries from tma_events")
            await forget_faults(world)
            delivered = await world.settled(3)

            assert bridge.readiness()[0]

    assert "check BOT_TOKEN" in reason
    assert {"log_level": "error", "event": "sending_halted"}.items() <= halts(logs)[0].items()
    assert all(row["status"] in {"pending", "processing"} for row in rows)
    assert [row["retries"] for row in rows] == [0, 0, 0]
    assert sum(row["attempt"] for row in rows) <= 3 + 3  # then one row a pause, not all of them
    assert failures(delivered) == [("delivered", None)] * 3
    assert len(await world.sent()) == 3


async def unready(bridge):
    """Why the bridge is not ready, when it is not."""
    ready, state = bridge.readiness()
    return None if ready else state["reasons"]


async def more_requests(telegram, count):
    return telegram.count("/sendMessage") >= count


def halts(logs):
    return [line for line in logs if line["event"] == "sending_halted"]


async def forget_faults(world):
    world.stack.bot_api.script.waiting.clear()
