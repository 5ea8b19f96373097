"""Hands for the dashboard's tests: one that runs, and who has its address."""

import asyncio
import json
import re
from contextlib import asynccontextmanager

import aiogram  # noqa: F401 - takes seconds, in which a dashboard in this process would hear nothing
import aiohttp

from realtime_bridge.commands.dashboard import run_dashboard
from realtime_bridge.settings import parse
from tests.integration.kit import until


class Terminal:
    """What whoever started the dashboard sees."""

    def __init__(self):
        self.said = []

    @property
    def address(self):
        """The last address that was shown: each is good once."""
        return re.findall(r"http://\S+", self.said[-1])[-1]

    @property
    def origin(self):
        return self.address.partition("/?")[0]

    @asynccontextmanager
    async def session(self):
        """A client that was let in, which says what our page says of itself."""
        async with aiohttp.ClientSession(self.origin, headers={"Origin": self.origin}) as http:
            async with http.get(self.address) as response:
                assert response.status == 200
            # A cookie of an address is not kept otherwise.
            http.headers["Cookie"] = response.headers["Set-Cookie"].partition(";")[0]
            yield http


@asynccontextmanager
async def running_dashboard(world, tmp_path, **changes):
    """A dashboard of this stack, in this process."""
    environment = world.environment(**changes)
    env_file = tmp_path / "dashboard.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    terminal = Terminal()
    work = asyncio.create_task(
        run_dashboard(parse(environment), env_file, port=0, replicas=[], echo=terminal.said.append)
    )

    async def shown():
        assert not work.done()
        return terminal.said

    try:
        await until(shown)
        yield terminal
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def fail(world, failure="blocked", *, chat=1, error="Forbidden: bot was blocked by the user"):
    """A row that failed, without a bridge."""
    id_ = await world.insert(chat)
    await world.sql(
        "update tma_events set status = 'failed', failure = %s, error = %s, attempt = 1,"
        " claimed_at = now(), settled_at = now() where id = %s",
        failure,
        error,
        id_,
    )
    return id_


async def news(http, *parts):
    """The first news of each of these parts, as {part: value}."""
    found = {}
    async with asyncio.timeout(20), http.get("/events") as response:
        assert response.status == 200
        name = None
        async for line in response.content:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data" and name in parts:
                found[name] = json.loads(value)
                if len(found) == len(parts):
                    break
    return found
