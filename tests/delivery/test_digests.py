"""Events of one type for one chat that become one message, and those that become none."""

import pytest

from tests.integration.kit import until

TAPS = 10


@pytest.fixture
def gathering(tmp_path):
    """Settings of a bridge that gathers completed steps for a second."""
    (tmp_path / "events.toml").write_text('[step_completed]\ndigest = "1s"\nsilent = true')
    return {"TEMPLATES_DIR": str(tmp_path)}


async def tap(world, times=TAPS):
    """Complete so many steps at once, as a Mini App does for an eager user."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type, payload)"
        " select 1, 'step_completed', jsonb_build_object('step_id', n)"
        " from generate_series(1, %s) n order by n",
        times,
    )


def counted(bridge, outcome):
    labels = {"lane": "tma_events", "outcome": outcome}
    return bridge.metrics.registry.get_sample_value("bridge_events_total", labels)


async def test_ten_taps_are_one_message(world, gathering):
    """All rows are delivered with its id, and all are counted."""
    async with world.running_bridge(**gathering) as bridge:
        await tap(world)
        rows = await world.settled(TAPS)
        await until(lambda: all_counted(bridge, "delivered"))

    (message,) = await world.sent()
    assert {(row["status"], row["message_id"]) for row in rows} == {
        ("delivered", message["message_id"])
    }
    assert message["text"].startswith("10 steps marked complete:\n• your lead: step 1\n")
    assert message["text"].endswith("\n• your lead: step 10")


async def all_counted(bridge, outcome):
    return counted(bridge, outcome) == TAPS


async def test_one_tap_is_an_ordinary_message(world, gathering):
    """It has waited for others, and none came."""
    async with world.running_bridge(**gathering):
        await tap(world, 1)
        await world.settled(1)

    assert (await world.texts())[0].startswith("Step 1 marked complete")


async def test_other_types_do_not_wait(world, gathering):
    """Each of them is a message."""
    async with world.running_bridge(**gathering):
        for _ in range(2):
            await world.insert(event_type="step_skipped")
        await world.settled(2)

    assert len(await world.sent()) == 2


async def test_a_digest_that_may_have_been_sent_is_uncertain_as_a_whole(world, gathering):
    """No row of it is sent again, and none is taken for delivered."""
    await world.fault({"drop": "after_accept"})
    async with world.running_bridge(**gathering) as bridge:
        await tap(world)
        rows = await world.settled(TAPS)
        await until(lambda: all_counted(bridge, "uncertain"))

    assert {(row["status"], row["failure"]) for row in rows} == {("failed", "uncertain")}
    assert len(await world.sent()) == 1


async def test_a_digest_that_is_tried_again_is_still_one(world, gathering):
    """What came meanwhile may go with it."""
    await world.fault({"status": 429, "retry_after": 1})
    async with world.running_bridge(**gathering):
        await tap(world)
        rows = await world.settled(TAPS)

    assert {row["status"] for row in rows} == {"delivered"}
    assert len({row["message_id"] for row in rows}) == len(await world.sent()) == 1


async def test_a_payload_that_cannot_be_read_does_not_cost_the_digest(world, gathering):
    """Its row is told without it."""
    async with world.running_bridge(**gathering):
        await tap(world, 2)
        await world.sql(
            "insert into tma_events (telegram_id, event_type, payload)"
            " values (1, 'step_completed', (%s)::jsonb)",
            '{"a":' * 150 + "1" + "}" * 150,
        )
        rows = await world.settled(3)

    assert {row["status"] for row in rows} == {"delivered"}
    assert await world.texts() == [
        "3 steps marked complete:\n• your lead: step 1\n• your lead: step 2\n• your lead"
    ]


async def test_muted_rows_are_counted_although_no_bridge_gets_them(world, gathering):
    """Nobody is told of them, so the metric is all there is."""
    await world.sql("insert into tma_chat_settings (telegram_id, muted) values (1, '{step_due}')")
    async with world.running_bridge(**gathering) as bridge:
        id_ = await world.insert(event_type="step_due")

        async def muted():
            return (await world.row(id_))["status"] == "muted" and counted(bridge, "muted")

        assert await until(muted) == 1

    assert await world.sent() == []
