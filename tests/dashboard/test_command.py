"""`realtime-bridge dashboard` as a process."""

import re
import signal
import socket

import aiohttp

from realtime_bridge.commands.dashboard import run_dashboard
from realtime_bridge.settings import parse


async def test_it_stops_with_a_page_open(world, start):
    """Ctrl-C ends it at once, with 0; what it printed holds no traceback and no session."""
    dashboard = await start("dashboard", "--port", "0", env=world.environment())
    await dashboard.says("token=")
    address = re.search(r"http://\S+", dashboard.output)[0]
    origin = address.partition("/?")[0]
    async with aiohttp.ClientSession() as http:
        async with http.get(address) as response:
            assert response.status == 200
        cookie = response.headers["Set-Cookie"].partition(";")[0]
        async with http.get(f"{origin}/events", headers={"Cookie": cookie}) as stream:
            assert (await stream.content.readline()).startswith(b"event: ")

            code = await dashboard.stop(signal.SIGINT)

    assert code == 0
    assert "Traceback" not in dashboard.output
    assert cookie.partition("=")[2] not in dashboard.output
    assert "For another browser" in dashboard.output


async def test_a_port_that_is_taken(world):
    """It says so, and which option helps."""
    said = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = parse(world.environment())

        code = await run_dashboard(settings, None, port=port, replicas=[], echo=said.append)

    assert code == 1
    assert said == [f"Port {port}: Address already in use. Choose another one with --port."]
