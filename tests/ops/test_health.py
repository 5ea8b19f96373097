"""/livez, /readyz and /metrics, as a probe and a scraper see them."""

import asyncio

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from realtime_bridge import health
from realtime_bridge.backlog import Backlog
from realtime_bridge.rpc import Unavailable
from realtime_bridge.telemetry import Metrics
from tests.integration.kit import until


class Database:
    """Answers for the backlog, or does not, and counts how often it was asked."""

    def __init__(self):
        self.asked = 0
        self.answer = {"tma_events": {"pending": 3, "oldest_pending_seconds": 7.5}}

    async def call(self, function):
        assert function == "tma_backlog"
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return self.answer


def samples(text):
    """The values of a scrape, by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(session, url):
    async with session.get(f"{url}/metrics") as response:
        return samples(await response.text())


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_ready_says_why_not(ready, status):
    """A load balancer reads the status, a person the reasons."""
    app = health.create_app(lambda: (ready, {"reasons": ["x"]}), CollectorRegistry())

    async with TestClient(TestServer(app)) as client:
        live = await client.get("/livez")
        answer = await client.get("/readyz")

        assert live.status == 200
        assert answer.status == status
        assert await answer.json() == {"ready": ready, "reasons": ["x"]}


async def test_a_port_that_is_taken_costs_the_endpoints_only(unused_tcp_port):
    """Deliveries matter more."""
    app, other = (health.create_app(lambda: (True, {}), CollectorRegistry()) for _ in range(2))

    async with (
        health.serve(app, "127.0.0.1", unused_tcp_port),
        health.serve(other, "127.0.0.1", unused_tcp_port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{unused_tcp_port}/livez") as response,
    ):
        assert response.status == 200


async def test_the_backlog_is_asked_for_when_somebody_looks():
    """And not again while the answer is young."""
    now, database, metrics = [100.0], Database(), Metrics()
    backlog = Backlog(database, metrics, keep=15, clock=lambda: now[0])

    await asyncio.gather(*(backlog.refresh() for _ in range(3)))
    young = database.asked
    now[0] += 15
    await backlog.refresh()

    read = metrics.registry.get_sample_value
    assert (young, database.asked) == (1, 2)
    assert read("bridge_pending", {"lane": "tma_events"}) == 3
    assert read("bridge_oldest_pending_seconds", {"lane": "tma_events"}) == 7.5


@pytest.mark.parametrize("answer", [Unavailable("away"), None])
async def test_a_database_that_is_away_holds_up_no_scrape(monkeypatch, answer):
    """What was last known stays."""
    monkeypatch.setattr("realtime_bridge.backlog.PATIENCE_SECONDS", 0.05)
    database, metrics = Database(), Metrics()
    backlog = Backlog(database, metrics, keep=0)
    await backlog.refresh()
    database.answer = answer

    await backlog.refresh()

    value = metrics.registry.get_sample_value("bridge_pending", {"lane": "tma_events"})
    assert (database.asked, value) == (2, 3)


async def test_a_running_bridge_in_numbers(world, unused_tcp_port):
    """What rang, what was sent, how long it took, how full it is, and what waits."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with (
        world.running_bridge(HTTP_PORT=str(unused_tcp_port)),
        aiohttp.ClientSession() as http,
    ):
        await world.insert(1)
        await world.settled(1)
        await world.insert(2, deliver_after="2099-01-01")

        async def counted():
            values = await scrape(http, url)
            delivered = (
                "bridge_events_total",
                ("lane", "tma_events"),
                ("outcome", "delivered"),
            )
            return values if values.get(delivered) == 1 else None

        values = await until(counted)

    lane = ("lane", "tma_events")
    assert values["bridge_delivery_seconds_count", lane] == 1
    assert values["bridge_pickup_seconds_count", lane] == 1
    assert values["bridge_in_hand", lane] == 0
    assert values["bridge_slots", lane] == 64
    assert values["bridge_halted", lane] == 0
    assert values["bridge_pending", lane] == 0
    assert values["bridge_pending", ("lane", "plan_requests")] == 0
    assert values["bridge_doorbell_ready", ("bell", "changes")] == 1
    assert values["process_resident_memory_bytes",] > 0
    assert not any("_created" in name for name, *_ in values)


async def test_an_outage_of_realtime_is_degraded_not_unready(world, unused_tcp_port):
    """The sweep works on: restarting the bridge would help nobody."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with (
        world.running_bridge(HTTP_PORT=str(unused_tcp_port)),
        aiohttp.ClientSession() as http,
    ):
        world.stack.realtime.refuse(503)
        world.stack.realtime.drop_sockets()
        try:

            async def degraded():
                async with http.get(f"{url}/readyz") as response:
                    state = await response.json()
                    return (response.status, state) if state["degraded"] else None

            status, state = await until(degraded)
            values = await scrape(http, url)
        finally:
            world.stack.realtime.refuse(None)

    assert (status, state["ready"]) == (200, True)
    assert state["doorbell"]["changes"] == "down"
    assert values["bridge_doorbell_ready", ("bell", "broadcast")] == 0


async def test_an_outage_of_the_database_is_unready(world, unused_tcp_port):
    """With the reason; alive all the time; and ready again by itself."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    changes = {"HTTP_PORT": str(unused_tcp_port), "SWEEP_INTERVAL": "1"}
    changes["FALLBACK_POLL_INTERVAL"] = "0.5"

    async def readiness(http, wanted):
        async with http.get(f"{url}/readyz") as response:
            return await response.json() if response.status == wanted else None

    async with world.running_bridge(**changes), aiohttp.ClientSession() as http:
        await world.stack.postgrest.stop()
        try:
            state = await until(lambda: readiness(http, 503))
            async with http.get(f"{url}/livez") as response:
                alive = response.status
        finally:
            await world.stack.postgrest.start()
        again = await until(lambda: readiness(http, 200))

    assert alive == 200
    assert any("502" in reason for reason in state["reasons"])
    assert again["reasons"] == []
