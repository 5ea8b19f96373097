"""Digests from end to end: ten taps are one message, whatever happens to the bridges meanwhile.

`make chaos` runs the second test for 200 rounds.
"""

import asyncio
import os
import random
import re
from collections import Counter, defaultdict

import pytest
import pytest_asyncio

from tests.delivery.fork_server import ForkServer
from tests.delivery.proxy import Proxy

ROUNDS = int(os.environ.get("DIGEST_ROUNDS", "12"))
TAPS = 10
CHATS = 5  # of each round, so that a kill finds some message on its way
LEASE = 11.0
# Telegram is far away: at any time some messages have arrived and nobody here knows.
LATENCY = 0.3


@pytest.fixture
def window():
    """For how many seconds taps are gathered."""
    return 1


@pytest.fixture
def templates(tmp_path, window):
    """A templates folder in which taps are gathered."""
    folder = tmp_path / "templates"
    (folder / "en").mkdir(parents=True)
    (folder / "events.toml").write_text(f'[tapped]\ndigest = "{window}s"\n')
    (folder / "en" / "tapped.html").write_text("n{{ n }}x")
    (folder / "en" / "tapped.digest.html").write_text(
        "{% for event in events %}n{{ event.n }}x {% endfor %}"
    )
    return folder


@pytest_asyncio.fixture(loop_scope="session")
async def fork_server(tmp_path):
    """Where replicas come from that can be killed."""
    async with ForkServer(tmp_path) as fork_server:
        yield fork_server


@pytest.mark.parametrize("window", [10])
async def test_ten_taps_are_one_message(world, templates):
    """Each row of a Mini App is delivered with the id of the one message that tells of it."""
    async with world.running_bridge(TEMPLATES_DIR=str(templates)):
        mini_app = await world.mini_app(7)
        await asyncio.gather(
            *(
                mini_app.table("tma_events")
                .insert({"event_type": "tapped", "payload": {"n": n}})
                .execute()
                for n in range(TAPS)
            )
        )
        await mini_app.postgrest.aclose()
        rows = await world.settled(TAPS)

    (message,) = await world.sent()
    assert sorted(told(message)) == list(range(TAPS))
    assert {(row["status"], row["message_id"]) for row in rows} == {
        ("delivered", message["message_id"])
    }


@pytest.mark.timeout(120 + 5 * ROUNDS)
async def test_replicas_that_die_in_the_middle(world, templates, fork_server):
    """Nobody is told twice, nothing is lost in silence, and what is in doubt is so together."""
    chance = random.Random(7)
    async with Proxy(world.stack.port, latency=LATENCY) as telegram:
        environment = world.environment(
            TEMPLATES_DIR=str(templates),
            TELEGRAM_API_URL=telegram.url,
            SEND_TIMEOUT="3",
            LEASE_SECONDS=str(LEASE),
            SWEEP_INTERVAL="2",
            FALLBACK_POLL_INTERVAL="1",
            TELEGRAM_RATE="1000",
            ALLOW_PAID_BROADCAST="true",
        )
        replicas = [await fork_server.start(environment) for _ in range(3)]
        for replica in replicas:
            await replica.says("started", 60)

        for number in range(ROUNDS):
            await tap(world, number)
            victim = chance.randrange(3)
            await asyncio.sleep(chance.uniform(0.8, 1.8))
            await replicas[victim].kill()
            replicas[victim] = await fork_server.start(environment)
        rows = await world.settled(ROUNDS * CHATS * TAPS, 120)
        for replica in replicas:
            await replica.kill()

    accepted = Counter(n for message in await world.sent() for n in told(message))
    assert max(accepted.values()) == 1
    never = [row for row in rows if row["payload"]["n"] not in accepted]
    assert {row["failure"] for row in never} <= {"uncertain"}
    together = defaultdict(set)
    for row in rows:
        together[row["gathered_into"] or row["id"]].add((row["status"], row["message_id"]))
    assert {len(endings) for endings in together.values()} == {1}


async def tap(world, number):
    """Ten taps in each of the chats of a round, by a statement each, as users tap."""
    for n in range(TAPS):
        await world.sql(
            "insert into tma_events (telegram_id, event_type, payload)"
            " select chat, 'tapped', jsonb_build_object('n', chat * %s + %s)"
            " from generate_series(%s::int, %s) chat",
            TAPS,
            n,
            number * CHATS + 1,
            number * CHATS + CHATS,
        )


def told(message):
    """The numbers of the taps that a message tells of."""
    return [int(n) for n in re.findall(r"n(\d+)x", message["text"])]
