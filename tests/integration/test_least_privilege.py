"""The bridge with the narrow role instead of the service key."""

from datetime import UTC, datetime, timedelta

from realtime_bridge.credentials import tokens


async def test_the_narrow_role_hears_both_bells_and_delivers(world):
    """A tma_bridge JWT, with the anon key for the gateway, is all that a bridge needs."""
    environment = world.stack.env()
    secret, anon = environment["SUPABASE_JWT_SECRET"], environment["SUPABASE_ANON_KEY"]
    key = tokens.mint(secret, now=datetime.now(UTC), lifetime=timedelta(days=1))

    async with world.running_bridge(SUPABASE_KEY=key, SUPABASE_ANON_KEY=anon) as bridge:
        await world.insert(1)
        (row,) = await world.settled(1)

        _, state = bridge.readiness()
        assert state["doorbell"]["changes"] == "ready"
        assert state["doorbell"]["broadcast"] == "ready"
    assert row["status"] == "delivered"
