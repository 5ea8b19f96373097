"""Helpers for integration tests: run a bridge, insert as a Mini App, read rows and messages."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager

import aiohttp
import psycopg
from psycopg.rows import dict_row

from realtime_bridge import Bridge
from realtime_bridge.settings import parse
from tests.integration.forked import Forked
from tests.run_mark import mark

# For a machine that does much else; who waits in vain waits for long.
PATIENCE = 60.0


async def until(condition, seconds=PATIENCE):
    """Wait until an async condition is truthy, and return its value."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):
            await asyncio.sleep(0.02)
        return value


class World:
    """One running stack, seen from outside."""

    def __init__(self, stack, database, http):
        self.stack = stack
        self._database = database
        self._http = http

    @classmethod
    @asynccontextmanager
    async def around(cls, stack):
        """Look at a stack for as long as the context lasts."""
        async with (
            await psycopg.AsyncConnection.connect(
                stack.env()["DATABASE_URL"], autocommit=True, row_factory=dict_row
            ) as database,
            aiohttp.ClientSession(stack.url) as http,
        ):
            yield cls(stack, database, http)

    async def sql(self, query, *values):
        """Run one statement as the project's owner; return its rows, if it has any."""
        cursor = await self._database.execute(query, values)
        return await cursor.fetchall() if cursor.description else []

    async def insert(self, telegram_id=1, event_type="status_changed", **columns):
        """Insert one event as psql would; return its id."""
        columns = {"telegram_id": telegram_id, "event_type": event_type, **columns}
        names = ", ".join(columns)
        marks = ", ".join(["%s"] * len(columns))
        values = [
            psycopg.types.json.Jsonb(v) if isinstance(v, dict | list) else v
            for v in columns.values()
        ]
        rows = await self.sql(
            f"insert into tma_events ({names}) values ({marks}) returning id", *values
        )
        return rows[0]["id"]

    async def row(self, id_):
        """Read one event."""
        return (await self.sql("select * from tma_events where id = %s", id_))[0]

    async def sent(self):
        """What Telegram accepted, oldest first."""
        async with self._http.get("/_sent") as response:
            return await response.json()

    async def texts(self):
        """What users read, oldest first."""
        return [message["text"] for message in await self.sent()]

    async def fault(self, *faults):
        """Script Telegram's next answers."""
        async with self._http.post("/_faults", json=list(faults)) as response:
            assert response.status < 300, await response.text()

    async def sign(self, user_id, **user):
        """The initData of a user, signed as Telegram does."""
        body = {"user": {"id": user_id, "first_name": "T", **user}}
        async with self._http.post("/_sign", json=body) as response:
            return (await response.json())["init_data"]

    async def mini_app(self, user_id):
        """supabase-py as a Mini App of the user has it: the anon key and Telegram's signature."""
        from supabase import AsyncClientOptions, acreate_client  # slow, and few have a Mini App

        environment = self.stack.env()
        return await acreate_client(
            environment["SUPABASE_URL"],
            environment["SUPABASE_ANON_KEY"],
            options=AsyncClientOptions(headers={"x-telegram-init-data": await self.sign(user_id)}),
        )

    async def settled(self, count=None, seconds=PATIENCE):
        """Wait until no row is open (and so many are there); return all rows."""

        async def all_settled():
            rows = await self.sql("select * from tma_events order by id")
            done = all(row["status"] in {"delivered", "failed"} for row in rows)
            return rows if done and rows and (count is None or len(rows) == count) else None

        return await until(all_settled, seconds)

    def environment(self, **changes):
        """The environment that `realtime-bridge run` gets."""
        return {**self.stack.env(), "HTTP_PORT": "0", **changes}

    def bridge(self, **changes):
        """A bridge in this process, not started."""
        return Bridge(parse(self.environment(**changes)))

    @asynccontextmanager
    async def running_bridge(self, **changes):
        """A bridge in this process that is up: it claims, and its doorbell is answered."""
        import aiogram  # noqa: F401 - takes seconds, which are not what is waited for below

        bridge = self.bridge(**changes)
        await bridge.start()
        try:

            async def up():
                ready, state = bridge.readiness()
                bells = state.get("doorbell", {"changes": "down"})
                deaf = changes.get("EXPECT_DOORBELL") == "no"
                return ready and (deaf or "down" not in bells.values())

            await until(up, 30)
            yield bridge
        finally:
            await bridge.stop()


class Process:
    """A command of ours as a process of its own, with everything it says."""

    def __init__(self, process):
        self.process = process
        self.output = ""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, *arguments, cwd, env=None, code=None, whole=False):
        """Start `python -m realtime_bridge <arguments>` in a folder, with only this environment.

        It is forked from a process that has imported aiogram, unless the `whole` of a start is
        what is to be seen.
        """
        environment = {
            **{k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ},
            **mark(),
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        if arguments and not whole:
            return cls(await Forked.start(*arguments, cwd=cwd, env=environment))
        command = ["-m", "realtime_bridge", *arguments] if arguments else ["-c", code]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            cwd=cwd,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return cls(process)

    async def _read(self):
        while chunk := await self.process.stdout.read(65536):
            self.output += chunk.decode("utf-8", "replace")

    async def says(self, text, seconds=90.0):
        """Wait until the output has this text."""

        async def said():
            assert self.process.returncode is None or text in self.output, self.output
            return text in self.output

        await until(said, seconds)

    async def ended(self, seconds=90.0):
        """Wait for the end; return the exit code."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await self._reading
            return code

    async def stop(self, sig=signal.SIGTERM, seconds=60.0):
        """Send a signal and wait for the end; return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(sig)
        return await self.ended(seconds)

    async def kill(self):
        """Leave nothing running, whatever happened."""
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()
