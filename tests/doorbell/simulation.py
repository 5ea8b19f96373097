"""A simulation of database, server and bridge in virtual time: hours of rings in seconds."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

from structlog.testing import capture_logs

from realtime_bridge.doorbell import Bell, Doorbell, Mode, Reason, Timing
from realtime_bridge.watching import sweep_every
from tests.doorbell.harness import KEY, RecordingObserver
from tests.doorbell.scripted_server import Channel, ScriptedRealtime
from tests.unit.virtual_time import ListeningLoop, in_virtual_time

TABLE = "tma_events"
SWEEP = 30.0  # seconds; the default of SWEEP_INTERVAL
POLL = 3.0  # FALLBACK_POLL_INTERVAL
QUIET = {"doorbell_ready", "doorbell_heard_again"}
TIMING = Timing()
BACK = 5.0  # seconds, from when the server can serve until both bells are ready


def now() -> float:
    """Return virtual seconds."""
    return asyncio.get_running_loop().time()


@dataclass
class Simulation:
    """Rows that are inserted, ring, and are claimed as a bridge claims them.

    `latency`: seconds until each bell rings; inf: it never does. A row rings both bells, and is
    claimed when the bridge is woken or sweeps; a busy bridge claims every second as well. Each
    claim tells the doorbell what was claimed.
    """

    mode: Mode = "both"
    tables: tuple[str, ...] = (TABLE,)
    latency: dict[Bell, float] = field(default_factory=dict)
    busy: bool = False
    server: ScriptedRealtime = field(default_factory=ScriptedRealtime)
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    logs: list[dict[str, Any]] = field(default_factory=list)
    rings: list[str] = field(default_factory=list)  # what woke the bridge
    pickups: list[float] = field(default_factory=list)  # seconds that each row waited
    mute: set[tuple[Channel, Bell]] = field(default_factory=set)  # joined, but never rung
    doorbell: Doorbell = field(init=False)
    _waiting: list[tuple[float, bool]] = field(default_factory=list)  # when, and whether it rings
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _rings: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.latency = {Bell.CHANGES: 0.5, Bell.BROADCAST: 0.01} | self.latency

    async def run(self, scenario: Callable[["Simulation"], Awaitable[None]]) -> None:
        """Run the bridge while a scenario happens to it."""
        await self.server.start()
        self.doorbell = Doorbell(
            url=self.server.url,
            key=lambda: KEY,
            tables=self.tables,
            wake=self._wake,
            mode=self.mode,
            observer=self.observer,
            clock=now,
        )
        tasks = [asyncio.create_task(self.doorbell.run()), asyncio.create_task(self._claim())]
        try:
            await self.ready()
            await scenario(self)
        finally:
            for task in [*tasks, *self._rings]:
                task.cancel()
            await asyncio.gather(*tasks, *self._rings, return_exceptions=True)
            await self.server.kill()

    async def ready(self) -> None:
        """Wait until all bells that are wanted are ready."""
        while {self.state(bell) for bell in Bell} - {"ready", "off"}:
            await asyncio.sleep(0.05)

    def state(self, bell: Bell) -> str:
        """Return the state of a bell as the status shows it."""
        return getattr(self.doorbell.status, bell.value).value

    def deafen(self, bell: Bell) -> float:
        """Silence a bell on every connection that is open; return the time."""
        self.mute |= {(channel, bell) for channel in self.server.joins}
        return now()

    def insert(self, age: float = 0.0, *, rings: bool = True, due: bool = True) -> None:
        """Commit a row that was inserted some time before (in a long transaction)."""
        self._waiting.append((now() - age, due))
        if rings:
            self.ring()

    def sweep(self) -> None:
        """Claim now."""
        self._woken.set()

    def ring(self) -> None:
        """Ring as the trigger does: once a statement, on both bells, each at its own pace."""
        for bell, latency in self.latency.items():
            if latency < inf:
                task = asyncio.create_task(self._ring(bell, latency))
                self._rings.add(task)
                task.add_done_callback(self._rings.discard)

    async def insert_every(self, pause: float, *, seconds: float) -> None:
        """Insert at this interval for some seconds; several at a time if the interval is tiny."""
        end, step = now() + seconds, max(pause, 0.1)
        while now() < end:
            for _ in range(round(step / pause)):
                self._waiting.append((now(), True))
            self.ring()
            await asyncio.sleep(step)

    def lines(self, *events: str) -> list[dict[str, Any]]:
        """Return the lines of the log about these events."""
        return [line for line in self.logs if line["event"] in events]

    @property
    def reasons(self) -> list[Reason]:
        """Why connections were replaced so far."""
        return [call[1] for call in self.observer.calls if call[0] == "rebuilt"]

    @property
    def alarms(self) -> list[str]:
        """The events logged that a healthy doorbell does not log."""
        return [
            line["event"]
            for line in self.logs
            if line["log_level"] != "debug" and line["event"] not in QUIET
        ]

    @property
    def wakes(self) -> int:
        """How often the bridge was woken so far."""
        return len(self.rings)

    def _wake(self, source: str) -> None:
        self.rings.append(source)
        self._woken.set()

    async def broadcast(self, table: str) -> None:
        """Ring one bell for a table, on every connection that is open."""
        for channel in self._open(Bell.BROADCAST):
            await channel.broadcast(table)

    async def _ring(self, bell: Bell, latency: float) -> None:
        await asyncio.sleep(latency)
        for channel in self._open(bell):
            await (channel.change(TABLE) if bell is Bell.CHANGES else channel.broadcast(TABLE))

    def _open(self, bell: Bell) -> list[Channel]:
        return [
            channel
            for channel in self.server.joins
            if channel.socket in self.server.sockets and (channel, bell) not in self.mute
        ]

    async def _claim(self) -> None:
        while True:
            interval = 1.0 if self.busy else sweep_every(self.doorbell.status, SWEEP, POLL)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._woken.wait()
            self._woken.clear()
            begun = now()
            await asyncio.sleep(0.005)
            rows, self._waiting = self._waiting, []
            self.pickups += [now() - at for at, _ in rows]
            waited = [now() - at for at, due in rows if due]
            self.doorbell.expect(TABLE, [begun - seconds for seconds in waited])


async def until(condition: Callable[[], object], within: float, step: float = 0.1) -> float:
    """Wait in virtual time until a condition holds; return the time."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(step)
    return now()


def simulate(scenario: Callable[[Simulation], Awaitable[None]], **options: Any) -> Simulation:
    """Run a scenario in virtual time; return the simulation as it ended."""

    async def world() -> Simulation:
        sim = Simulation(**options)
        with capture_logs() as sim.logs:
            await sim.run(scenario)
        return sim

    return in_virtual_time(world(), ListeningLoop)
