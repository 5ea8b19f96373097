"""/livez, /readyz and /metrics, as a probe and a scraper see them."""

import asyncio

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from realtime_bridge.database.rpc import Unavailable
from realtime_bridge.observe import health
from realtime_bridge.observe.backlog import Backlog
from realtime_bridge.observe.metrics import Metrics
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
    app = health.health_app(lambda: (ready, {"reasons": ["x"]}), CollectorRegistry())

    async with TestClient(TestServer(app)) as client:
        live = await client.get("/livez")
        answer = await client.get("/readyz")

        assert live.status == 200
        assert answer.status == status
        assert await answer.json() == {"ready": ready, "reasons": ["x"]}


async def test_a_port_that_is_taken_costs_the_endpoints_only(unused_tcp_port):
    """Deliveries matter more."""
    app, other = (health.health_app(lambda: (True, {}), CollectorRegistry()) for _ in range(2))

    async with (
        health.serve(app, "127.0.0.1", unused_tcp_port),
        health.serve(other, "127.0.0.1", unused_tcp_port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{unused_tcp_port}/livez") as response,
    ):
        assert response.status == 200


HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


@pytest_asyncio.fixture(loop_scope="session")
async def dial(unused_tcp_port):
    """Open a connection to the port of the test, send something, and keep it open."""
    writers = []

    async def dial(data=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
        writers.append(writer)
        writer.write(data)
        return reader

    yield dial
    for writer in writers:
        writer.close()


async def ended(reader):
    """Read to the end of a connection, which must come; return what was read."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def test_who_holds_connections_keeps_nobody_out(dial, unused_tcp_port):
    """Each is a file descriptor that the deliveries lack: the oldest go when too many come."""
    app = health.health_app(lambda: (True, {}), CollectorRegistry())
    crowd = 5 * health.MAX_CONNECTIONS

    async with health.serve(app, "127.0.0.1", unused_tcp_port):
        held = [await dial(HEAD) for _ in range(crowd)]
        probe = await dial(HEAD + b"Connection: close\r\n\r\n")

        assert b" 200 OK" in await ended(probe)
        for reader in held[: crowd - health.MAX_CONNECTIONS + 1]:
            assert await ended(reader) == b""


async def test_who_sends_slowly_is_not_waited_for(dial, unused_tcp_port):
    """A head that does not come to its end, however it drips; nor a second request."""
    app = health.health_app(lambda: (True, {}), CollectorRegistry())

    async with health.serve(app, "127.0.0.1", unused_tcp_port, idle_timeout=0.2):
        silent, half, idle = await dial(), await dial(HEAD), await dial(HEAD + b"\r\n")

        assert await ended(silent) == await ended(half) == b""
        assert b" 200 OK" in await ended(idle)


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 1000000\r\n\r\n",  # and no body
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        (HEAD + b"\r\n") * 20_000,  # and nobody reads the answers
        HEAD,
    ],
)
async def test_a_stop_waits_for_no_client(dial, unused_tcp_port, data):
    """Systemd and Kubernetes kill what has not stopped after 15 s."""
    app = health.health_app(lambda: (True, {}), CollectorRegistry())
    loop = asyncio.get_running_loop()

    async with health.serve(app, "127.0.0.1", unused_tcp_port):
        await dial(data)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as http:
            assert (await http.get("/livez")).status == 200
        before = loop.time()

    assert loop.time() - before < 3


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Authorization: " + b"SECRET" * 20_000 + b"\r\n\r\n",
        HEAD + b"SECRET: x\r\n" * 1000 + b"\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: SECRET, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"SECRET\r\n\r\n",
        b"GET /SECRET\x00 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01SECRET\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_not_logged(dial, unused_tcp_port, caplog, data):
    """Nobody fills the log, or writes into it, who only reaches the port."""
    app = health.health_app(lambda: (True, {}), CollectorRegistry())

    async with health.serve(app, "127.0.0.1", unused_tcp_port):
        answer = await ended(await dial(data))

    assert b" 400 " in answer.splitlines()[0]
    assert caplog.records == []


async def test_a_failure_of_ours_is_logged(unused_tcp_port, caplog):
    """As ever: the answer is 500, and the log says why."""

    def broken():
        raise RuntimeError("no state")

    app = health.health_app(broken, CollectorRegistry())
    async with (
        health.serve(app, "127.0.0.1", unused_tcp_port),
        aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as http,
        http.get("/readyz") as answer,
    ):
        assert answer.status == 500

    assert "no state" in caplog.text


async def test_the_backlog_is_asked_for_when_somebody_looks():
    """And not again while the answer is young."""
    now, database, metrics = [100.0], Database(), Metrics()
    backlog = Backlog(database, metrics, max_age=15, clock=lambda: now[0])

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
    monkeypatch.setattr("realtime_bridge.observe.backlog.TIMEOUT_SECONDS", 0.05)
    database, metrics = Database(), Metrics()
    backlog = Backlog(database, metrics, max_age=0)
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
