"""The database or everything is away for a while: the log stays short, no bell looks ready."""

import asyncio

from structlog.testing import capture_logs

from tests.delivery.proxy import Trouble
from tests.integration.kit import until

SECONDS = 12


def settings(supabase):
    return {"SUPABASE_URL": supabase.url, "HTTP_PORT": "0"}


def loud(lines):
    """What is there at INFO, but for rows that ended."""
    return [line for line in lines if line["log_level"] != "debug" and line["event"] != "delivered"]


def bells(bridge):
    doorbell = bridge.readiness()[1]["doorbell"]
    return {doorbell["changes"], doorbell["broadcast"]}


def ready_metrics(bridge):
    sample = bridge.metrics.registry.get_sample_value
    return {sample("bridge_doorbell_ready", {"bell": bell}) for bell in ("changes", "broadcast")}


async def test_an_outage_of_the_database(world, supabase):
    """Realtime says nothing of it: the calls know, and the bells are not ready then."""
    async with world.running_bridge(**settings(supabase)) as bridge:
        with capture_logs() as lines:
            with supabase.broken(Trouble.PAGE, "/rest/"):
                ids = [await world.insert(chat) for chat in range(100, 110)]
                await until(lambda: holds(lambda: bells(bridge) == {"away"}))
                assert ready_metrics(bridge) == {0}
                assert not bridge.readiness()[0]
                await asyncio.sleep(SECONDS)
            back = asyncio.get_running_loop().time()
            await until(lambda: holds(lambda: bells(bridge) == {"ready"}))
            assert asyncio.get_running_loop().time() - back < 6
            assert ready_metrics(bridge) == {1}
            await world.settled(len(ids))
            await until(lambda: holds(lambda: ended(lines)))

    assert [line["event"] for line in loud(lines)][:2] == ["queue_unavailable", "queue_available"]
    (end,) = ended(lines)
    assert SECONDS <= end["lasted_s"] < SECONDS + 6
    assert end["failed_calls"] == failed(lines) > 3


async def test_an_outage_of_everything(world, supabase):
    """Nobody listens: few lines of each kind, over all lanes."""
    async with world.running_bridge(**settings(supabase)):
        with capture_logs() as lines:
            await supabase.refuse()
            await world.insert()
            await asyncio.sleep(SECONDS)
            await supabase.serve()
            await world.settled(1)
            await until(lambda: holds(lambda: ended(lines)))

    said = [line["event"] for line in loud(lines)]
    assert said.count("queue_unavailable") == 1
    assert said.count("queue_available") == 1
    assert failed(lines) > 3


async def holds(condition):
    return condition()


def ended(lines):
    return [line for line in lines if line["event"] == "queue_available"]


def failed(lines):
    return len([line for line in lines if line["event"] == "queue_unavailable"])
