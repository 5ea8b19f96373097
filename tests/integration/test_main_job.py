"""The main job: a row that a Mini App inserts becomes a Telegram message."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from tests.integration.kit import until

NODE_MODULES = Path(__file__).parents[2] / "node_modules"

ALL_EVENTS = [
    (
        "step_completed",
        {
            "step_id": 1,
            "next_step_id": 2,
            "next_step_desc": "Send proposal",
            "next_step_due": "2000-01-01",
        },
        "Step 1 marked complete for Ann.\nNext: Step 2 — Send proposal (due January 1, 2000)",
    ),
    (
        "step_completed",
        {"step_id": 3},
        "Step 3 marked complete for Ann.\nAll engagement steps complete!",
    ),
    (
        "step_skipped",
        {"step_id": 2, "reason": "no answer"},
        "Step 2 skipped for Ann. Reason: no answer",
    ),
    ("step_skipped", {"step_id": 2}, "Step 2 skipped for Ann."),
    ("status_changed", {"new_status": "Won"}, "Lead status updated: Ann → Won"),
    ("lead_assigned", {"member_name": "Bob"}, "Ann assigned to Bob."),
    ("never_heard_of", {}, "Action completed for Ann."),
]
NAMED = {"lead_name": "Ann"}


def assert_delivered(row, messages):
    """Assert that a row was sent once and says so."""
    (message,) = [m for m in messages if m["message_id"] == row["message_id"]]
    assert row["status"] == "delivered"
    assert row["attempt"] == 1
    assert row["delivered_at"] is not None
    assert message["chat_id"] == row["telegram_id"]


@pytest_asyncio.fixture(loop_scope="session")
async def bridge(world):
    """A bridge that is up."""
    async with world.running_bridge() as bridge:
        yield bridge


async def test_every_event_type_arrives_with_its_exact_text(world, bridge):
    """Seven rows, seven messages, word for word, each row delivered at the first attempt."""
    for chat, (kind, payload, _) in enumerate(ALL_EVENTS, start=1):
        await world.insert(chat, kind, payload={**payload, **NAMED})

    rows = await world.settled(len(ALL_EVENTS))

    messages = await world.sent()
    by_chat = {message["chat_id"]: message["text"] for message in messages}
    assert len(messages) == len(ALL_EVENTS)
    assert [by_chat[chat] for chat in range(1, 8)] == [text for _, _, text in ALL_EVENTS]
    for row in rows:
        assert_delivered(row, messages)


async def test_the_next_step_is_told_as_a_day_from_today(world, bridge):
    """Today, tomorrow, in 3 days, 2 days ago; in the user's language."""
    today = datetime.now(UTC).date()
    for chat, (days, locale) in enumerate([(0, "en"), (1, "en"), (3, "en"), (-2, "en"), (1, "uk")]):
        due = (today + timedelta(days=days)).isoformat()
        payload = {"step_id": 1, "next_step_id": 2, "next_step_desc": "Call", "next_step_due": due}
        await world.insert(chat + 1, "step_completed", payload=payload, locale=locale)

    await world.settled(5)

    by_chat = {message["chat_id"]: message["text"] for message in await world.sent()}
    for chat, words in enumerate(["today", "tomorrow", "in 3 days", "2 days ago", "завтра"]):
        assert words in by_chat[chat + 1]


async def test_rows_of_supabase_py_with_the_public_key_arrive(world, bridge):
    """The anon key and Telegram's signature are all that a Mini App has; the name is the user's."""
    client = await world.mini_app(4711)

    await (
        client.table("tma_events")
        .insert({"event_type": "status_changed", "payload": {"new_status": "Won", **NAMED}})
        .execute()
    )
    await client.postgrest.aclose()

    (row,) = await world.settled(1)
    assert_delivered(row, await world.sent())
    assert row["telegram_id"] == 4711
    assert await world.texts() == ["Lead status updated: Ann → Won"]


async def test_rows_of_supabase_js_with_the_public_key_arrive(world, bridge, tmp_path):
    """Unmodified supabase-js, three rows in one insert."""
    environment = world.stack.env()
    script = """
        import { createClient } from '@supabase/supabase-js'
        const [url, key, initData] = process.argv.slice(2)
        const client = createClient(url, key, {
          global: { headers: { 'x-telegram-init-data': initData } },
        })
        const rows = [1, 2, 3].map((n) => ({ event_type: 'step_skipped', payload: { step_id: n } }))
        const { error } = await client.from('tma_events').insert(rows)
        if (error) throw new Error(JSON.stringify(error))
    """
    file = tmp_path / "insert.mjs"
    file.write_text(script)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    process = await asyncio.create_subprocess_exec(
        "node",
        str(file),
        environment["SUPABASE_URL"],
        environment["SUPABASE_ANON_KEY"],
        await world.sign(4712),
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await process.communicate()
    assert process.returncode == 0, error.decode()

    rows = await world.settled(3)
    messages = await world.sent()
    for row in rows:
        assert_delivered(row, messages)
    assert [m["text"] for m in messages] == [f"Step {n} skipped for your lead." for n in (1, 2, 3)]


async def test_three_rows_in_one_statement_arrive_once_each(world, bridge):
    """One statement rings once; all its rows are found."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type)"
        " select n, 'x' from generate_series(1, 3) n"
    )

    rows = await world.settled(3)

    messages = await world.sent()
    assert sorted(m["chat_id"] for m in messages) == [1, 2, 3]
    for row in rows:
        assert_delivered(row, messages)


async def test_a_row_of_a_transaction_arrives_when_it_commits_and_not_before(world, bridge):
    """What is not committed does not exist; what is rolled back never did."""
    dsn = world.stack.env()["DATABASE_URL"]
    insert = "insert into tma_events (telegram_id, event_type) values (%s, 'x')"
    async with await psycopg.AsyncConnection.connect(dsn) as gone:
        await gone.execute(insert, (66,))
        await gone.rollback()

    async with await psycopg.AsyncConnection.connect(dsn) as late:
        await late.execute(insert, (5,))
        await world.insert(6)  # committed at once: when it is there, the other had its chance
        await world.settled(1)
        assert [m["chat_id"] for m in await world.sent()] == [6]
        await late.commit()

    rows = await world.settled(2)
    messages = await world.sent()
    assert [m["chat_id"] for m in messages] == [6, 5]
    for row in rows:
        assert_delivered(row, messages)


async def test_rows_that_were_there_before_the_bridge_are_delivered(world):
    """Pending rows, and one that a dead worker left unsent three minutes ago."""
    await world.insert(1)
    stale = await world.insert(2)
    await world.sql(
        "update tma_events set status = 'processing', attempt = 1,"
        " claimed_at = now() - interval '3 minutes' where id = %s",
        stale,
    )

    async with world.running_bridge():
        rows = await world.settled(2)

    assert [row["status"] for row in rows] == ["delivered", "delivered"]
    assert [row["attempt"] for row in rows] == [1, 2]
    assert len(await world.sent()) == 2


async def test_messages_to_one_chat_keep_their_order(world, bridge):
    """Twelve rows to one chat at once: sent one after the other, first in, first out."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type, payload)"
        " select 9, 'step_skipped', jsonb_build_object('step_id', n) from generate_series(1, 4) n"
    )

    await world.settled(4)

    assert await world.texts() == [f"Step {n} skipped for your lead." for n in range(1, 5)]


HOSTILE = [
    "_ * [ ] ( ) ~ ` > # + - = | { } . !",
    '<b>bold</b> & "quoted" <script>',
    "Олена Ґонґадзе 🚀👩‍👩‍👧‍👦",
    "x" * 5000,
    "",
    None,
    42,
    True,
    ["a", {"b": 1}],
    {"deep": {"er": [None, "<"]}},
    "\u202e\u200b  \t\n",
]


async def test_whatever_a_payload_holds_a_readable_message_goes_out(world, bridge):
    """Hostile names, wrong types, missing keys: always delivered, and Telegram refuses no HTML."""
    keys = ("lead_name", "step_id", "reason", "new_status", "member_name", "next_step_due")
    kinds = ("step_completed", "step_skipped", "status_changed", "lead_assigned", "unknown_kind")
    chat = 0
    for value in HOSTILE:
        for kind in kinds:
            chat += 1
            await world.insert(chat, kind, payload=dict.fromkeys(keys, value))
    for payload in ({}, [], "text", 7, None):
        chat += 1
        await world.sql(
            "insert into tma_events (telegram_id, event_type, payload) values (%s, %s, %s)",
            chat,
            "step_completed",
            json.dumps(payload),
        )

    rows = await world.settled(chat)

    assert {row["status"] for row in rows} == {"delivered"}
    messages = await world.sent()
    assert len(messages) == chat
    assert {m["parse_mode"] for m in messages} == {"HTML"}  # not one needed the plain fallback
    assert all(0 < len(m["text"].encode("utf-16-le")) // 2 <= 4096 for m in messages)


def rung(bridge, bell):
    """A condition for `until`: how often this bell has woken the events up."""

    async def times():
        return bridge.metrics.wakeups.labels("tma_events", bell)._value.get()

    return times


@pytest.mark.parametrize("mode", ["changes", "broadcast"])
async def test_each_bell_rings_alone(world, mode):
    """With only one of the two bells rows are delivered, and only that bell is heard."""
    async with world.running_bridge(DOORBELL=mode) as bridge:
        await world.insert(1)
        await world.settled(1)

        silent = {"changes": "broadcast", "broadcast": "changes"}[mode]
        # The row may be found before its bell has rung: by the claim that follows `ready`.
        await until(rung(bridge, mode))
        assert await rung(bridge, silent)() == 0


async def test_both_bells_ring(world, bridge):
    """One insert is heard on both paths."""
    await world.insert(1)
    await world.settled(1)

    await until(rung(bridge, "broadcast"))
    await until(rung(bridge, "changes"))


async def test_rows_that_ring_nothing_are_noticed(world):
    """Both bells are joined and the trigger is off: the claims tell, and they are renewed."""
    await world.sql("alter table tma_events disable trigger tma_bell")
    try:
        async with world.running_bridge(SWEEP_INTERVAL="1", FALLBACK_POLL_INTERVAL="1") as bridge:
            rebuilds = bridge.metrics.doorbell_rebuilds.labels("deaf")._value
            async with asyncio.timeout(30):
                while not rebuilds.get():
                    await world.insert(1)
                    await asyncio.sleep(1)

            await world.settled()
            assert bridge.readiness()[1]["doorbell"]["changes"] == "ready"
    finally:
        await world.sql("alter table tma_events enable trigger tma_bell")


async def test_without_a_websocket_the_fallback_poll_delivers_everything(world):
    """Realtime refuses every connection: latency, not loss, and it is said aloud."""
    realtime = world.stack.realtime
    realtime.refuse(503)
    try:
        async with world.running_bridge(
            FALLBACK_POLL_INTERVAL="0.2", EXPECT_DOORBELL="no"
        ) as bridge:
            for chat in (1, 2, 3):
                await world.insert(chat)
                await world.settled(chat)

            ready, state = bridge.readiness()
            assert ready
            assert state["degraded"]
            for bell in ("changes", "broadcast", "ready"):
                assert await rung(bridge, bell)() == 0
    finally:
        realtime.refuse(None)


async def test_a_scheduled_event_goes_out_when_its_time_has_come(world, bridge):
    """deliver_after two seconds ahead: not before, and without waiting for the next sweep."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type, deliver_after)"
        " values (1, 'x', now() + interval '2 seconds')"
    )

    (row,) = await world.settled(1)

    late = (row["delivered_at"] - row["deliver_after"]).total_seconds()
    assert 0 <= late < 5
