"""status, tail and retry: what an operator sees and does."""

import asyncio
import json

import pytest

from realtime_bridge.commands.retry import Filters, run_retry
from realtime_bridge.commands.status import Replica, State, run_status, text_of
from realtime_bridge.commands.tail import run_tail
from realtime_bridge.commands.tail import text_of as tail_line
from realtime_bridge.settings import parse
from tests.integration.kit import until

STATS = {
    "pending": 3,
    "scheduled": 1200,
    "processing": 2,
    "started": 1,
    "oldest_pending_seconds": 130.0,
    "delivered_last_hour": 1500,
    "failed_last_hour": {"uncertain": 1, "blocked": 4},
    "delivered_per_minute": [0] * 58 + [40, 80],
}


async def fail(world, failure="blocked", chat=1):
    """A row that failed, without a bridge."""
    id_ = await world.insert(chat)
    await world.sql(
        "update tma_events set status = 'failed', failure = %s, error = 'because', attempt = 1,"
        " claimed_at = now(), settled_at = now() where id = %s",
        failure,
        id_,
    )
    return id_


async def statuses(world):
    return {row["id"]: row["status"] for row in await world.sql("select * from tma_events")}


def settings(world, **changes):
    return parse(world.environment(**changes))


def test_the_state_as_a_person_reads_it():
    """Numbers with their unit, reasons beside failures, a bar for each minute."""
    replica = {
        "ready": True,
        "reasons": [],
        "degraded": True,
        "doorbell": {"changes": "down", "broadcast": "down", "last_error": "HTTP 503"},
    }
    requests = {"pending": 0, "processing": 1, "oldest_pending_seconds": 0}

    text = text_of(State(STATS, {"plan_requests": requests}, [Replica("http://a", replica)]))

    first, hour, minutes, plans, bridge = text.splitlines()
    assert first == "tma_events     3 pending (oldest 2 min), 2 on the way, 1,200 scheduled"
    assert hour.strip() == "last hour: 1,500 delivered, 5 failed (4 blocked, 1 uncertain)"
    assert minutes.strip().startswith("▁" * 58 + "▅█ delivered per minute, at most 80")
    assert plans == "plan_requests  0 pending, 1 on the way"
    assert bridge == "bridge         http://a ready; changes down, broadcast down (HTTP 503)"


def test_the_state_tells_what_was_not_to_be_sent():
    """Withdrawn and muted rows are no failures; where there are none, nothing is said."""
    stats = STATS | {"failed_last_hour": {}, "withdrawn_last_hour": 2, "muted_last_hour": 0}

    text = text_of(State(stats, {}, []))

    assert "last hour: 1,500 delivered, 0 failed, 2 withdrawn\n" in text


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ({"status": "withdrawn", "attempt": 0}, "withdrawn after 1.50 s"),
        (
            {"status": "withdrawn", "attempt": 0, "error": "replaced by a newer message"},
            "withdrawn after 1.50 s: replaced by a newer message",
        ),
        ({"status": "muted", "attempt": 0}, "muted after 1.50 s"),
        (
            {"status": "failed", "attempt": 2, "failure": "blocked", "error": "because"},
            "failed after 1.50 s, attempt 2: blocked, because",
        ),
        ({"status": "delivered", "attempt": 1, "error": "of before"}, "delivered after 1.50 s"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_line_of_tail_says_how_a_row_ended(ended, told):
    """With the reason, where it is not that all went well."""
    row = {
        "id": 7,
        "event_type": "status_changed",
        "failure": None,
        "error": None,
        "settled_at": "2026-11-25T10:00:00+00:00",
        "took_seconds": 1.5,
        **ended,
    }

    assert tail_line(row).endswith(f"  7  status_changed  {told}")


async def test_status_shows_every_lane_and_the_running_bridge(world, unused_tcp_port):
    """From the database, and from /readyz of the replica beside it."""
    said = []
    port = str(unused_tcp_port)
    async with world.running_bridge(HTTP_PORT=port):
        await world.insert(1)
        await world.settled(1)

        code = await run_status(
            settings(world, HTTP_PORT=port),
            [],
            as_json=True,
            watch=False,
            echo=said.append,
            warn=pytest.fail,
        )

    told = json.loads(said[0])
    assert code == 0
    assert told["events"]["delivered_last_hour"] == 1
    assert told["requests"]["plan_requests"]["pending"] == 0
    assert told["replicas"][0]["details"]["doorbell"]["changes"] == "ready"


async def test_status_without_a_bridge_or_a_database(world):
    """A bridge that is away is part of the state; a database that is away is a failure."""
    said = []
    options = {"as_json": False, "watch": False, "echo": said.append, "warn": said.append}

    without_bridge = await run_status(settings(world, HTTP_PORT="9"), [], **options)
    no_database = settings(world, SUPABASE_URL="http://127.0.0.1:9")
    without_database = await run_status(no_database, [], **options)

    assert (without_bridge, without_database) == (0, 1)
    assert "http://127.0.0.1:9 does not answer" in said[0]


async def test_status_can_be_watched(world, monkeypatch):
    """Again and again, on a clean screen, also while the database is away."""
    monkeypatch.setattr("realtime_bridge.commands.status.LOOK_AGAIN_SECONDS", 0.01)
    said = []
    watching = asyncio.create_task(
        run_status(
            settings(world, HTTP_PORT="0"),
            [],
            as_json=False,
            watch=True,
            echo=said.append,
            warn=pytest.fail,
        )
    )

    async def shown():
        assert not watching.done()
        return len(said) >= 3

    await until(shown)
    watching.cancel()

    assert all(text.startswith("\x1b[H\x1b[2Jtma_events") for text in said)


async def test_tail_shows_rows_as_they_end(world):
    """Those of the time before first, then each new one, once."""
    said = []
    before = await fail(world)
    tailing = asyncio.create_task(
        run_tail(settings(world), 60, follow=True, as_json=True, echo=said.append, warn=pytest.fail)
    )

    async def shown(count):
        assert not tailing.done()
        return len(said) >= count

    await until(lambda: shown(1))
    after = await fail(world, "uncertain", chat=2)
    await until(lambda: shown(2))
    tailing.cancel()

    rows = [json.loads(line) for line in said]
    assert [row["id"] for row in rows] == [before, after]
    assert rows[1]["failure"] == "uncertain"


async def test_tail_as_a_person_reads_it(world):
    """When, which, what came of it, and why."""
    id_ = await fail(world)
    said = []

    code = await run_tail(
        settings(world), 60, follow=False, as_json=False, echo=said.append, warn=pytest.fail
    )

    assert code == 0
    (line,) = said
    assert f"  {id_}  status_changed  failed after 0." in line
    assert line.endswith("s: blocked, because")


async def test_retry_makes_rows_pending_again(world):
    """Of one reason, and no others."""
    blocked, rejected = await fail(world), await fail(world, "rejected", chat=2)
    said = []

    code = await run_retry(
        settings(world),
        Filters(failure="blocked"),
        10,
        confirm=pytest.fail,
        echo=said.append,
        warn=pytest.fail,
    )

    assert code == 0
    assert await statuses(world) == {blocked: "pending", rejected: "failed"}
    assert said == ["1 failed rows match: 1 blocked.", f"1 rows are pending again: {blocked}."]


@pytest.mark.parametrize(("answer", "status"), [(True, "pending"), (False, "failed")])
async def test_retry_asks_before_it_sends_again(world, answer, status):
    """Whatever the answer, the rows that were surely not sent are retried."""
    uncertain, blocked = await fail(world, "uncertain"), await fail(world, chat=2)
    asked = []

    def confirm(question):
        asked.append(question)
        return answer

    await run_retry(
        settings(world),
        Filters(ids=[uncertain, blocked]),
        10,
        confirm=confirm,
        echo=asked.append,
        warn=pytest.fail,
    )

    assert asked[1] == "1 of them may have been sent already. Send them again?"
    assert await statuses(world) == {uncertain: status, blocked: "pending"}


async def test_retry_stops_at_its_limit(world):
    """And says that there is more."""
    for chat in (1, 2, 3):
        await fail(world, chat=chat)
    said = []

    await run_retry(
        settings(world),
        Filters(failure="blocked"),
        2,
        confirm=pytest.fail,
        echo=said.append,
        warn=pytest.fail,
    )

    assert sorted((await statuses(world)).values()) == ["failed", "pending", "pending"]
    assert "again for the rest" in said[-1]


async def test_retry_of_nothing(world):
    """Says so, and that is no failure."""
    said = []

    code = await run_retry(
        settings(world),
        Filters(ids=[1]),
        10,
        confirm=pytest.fail,
        echo=said.append,
        warn=pytest.fail,
    )

    assert (code, said) == (0, ["No failed row matches."])


def test_retry_wants_a_filter():
    """Nobody retries everything by leaving something out."""
    with pytest.raises(ValueError, match="say which rows"):
        Filters()
