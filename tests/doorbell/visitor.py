"""A doorbell at work in a test, and everything that it did to the world around it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from realtime_bridge.doorbell import Bell, Doorbell, Limits, Reason, Unobserved

# Generous where a slow machine must not fail a test, small where a test waits for it to pass.
FAST = Limits(
    reply=5.0,
    ready=10.0,
    steady=0.0,
    look_every=0.02,
    ping_every=0.1,
    pong=5.0,
    close=0.5,
    hedge=60.0,
    skew=0.0,
)
PAUSE = 0.02  # seconds between two failing connections
KEY = "sb_secret_not_a_real_key"
# Built without a pause, beside the old one.
BESIDE = {Reason.DEAF, Reason.RETRY, Reason.REFRESH, Reason.AWAY, Reason.SLOW}


async def until(condition: Callable[[], Any], within: float = 10.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


class Told(Unobserved):
    """Writes down what the doorbell tells its observer."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []

    def ready(self, bell: Bell) -> None:
        self.all.append(("ready", bell))

    def down(self, reason: Reason) -> None:
        self.all.append(("down", reason))

    def rebuilt(self, reason: Reason) -> None:
        self.all.append(("rebuilt", reason))

    def refused(self, bell: Bell, text: str) -> None:
        self.all.append(("refused", bell, text))

    def deaf(self, bell: Bell) -> None:
        self.all.append(("deaf", bell))


class Visitor:
    """A running doorbell. `limits` overrides FAST; other options are the doorbell's own."""

    def __init__(self, url: str, *, limits: dict[str, Any] | None = None, **options: Any) -> None:
        self.key: str | Exception = options.pop("key", KEY)
        self.rings: list[str] = []
        self.told = Told()
        self.pauses: list[int] = []  # the number of failures before each
        self.longest: list[float] = []  # how long it might have been
        self.key_reads = 0  # one for each connection that was tried
        self.expected_reads = 1  # that follow no pause
        self.left = False
        own = {"tables": ["tma_events"], "wake": self.rings.append, "observer": self.told}
        self.doorbell = Doorbell(
            url=url,
            key=self._read_key,
            pause=self._pause,
            limits=replace(FAST, **(limits or {})),
            **own | options,
        )
        self.task = asyncio.create_task(self.doorbell.run())

    async def leave(self) -> None:
        """Stop the doorbell."""
        self.left = True
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    async def ready(self, *bells: Bell) -> None:
        """Wait until these bells are ready; all, if none is named."""
        await until(lambda: all(self.state(bell) == "ready" for bell in bells or Bell))

    async def rebuilt(self, reason: Reason, times: int = 1) -> None:
        """Wait until it was told so many times that a client was rebuilt for this reason."""
        await until(lambda: self.told.all.count(("rebuilt", reason)) >= times)

    def state(self, bell: Bell) -> str:
        """Return what the status says of a bell."""
        return getattr(self.doorbell.status, bell.value).value

    @property
    def reasons(self) -> list[Reason]:
        """Why clients were rebuilt so far."""
        return [what[1] for what in self.told.all if what[0] == "rebuilt"]

    @property
    def spun(self) -> bool:
        """Whether it ever dialled with neither a pause before nor a reason to build ahead."""
        ahead = sum(reason in BESIDE for reason in self.reasons)
        return self.key_reads > self.expected_reads + len(self.pauses) + ahead

    def _read_key(self) -> str:
        self.key_reads += 1
        if isinstance(self.key, Exception):
            raise self.key
        return self.key

    def _pause(self, failures: int, longest: float) -> float:
        self.pauses.append(failures)
        self.longest.append(longest)
        return PAUSE


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds
