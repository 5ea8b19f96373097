"""A running doorbell, with records of everything that it did."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from realtime_bridge.doorbell import Bell, Doorbell, DoorbellObserver, Reason, Timing

# Long where a slow machine must not fail a test, short where a test waits for it.
FAST = Timing(
    reply_timeout=5.0,
    ready_timeout=10.0,
    steady=0.0,
    look_every=0.02,
    ping_every=0.1,
    pong_timeout=5.0,
    close_timeout=0.5,
    hedge_after=60.0,
    skew=0.0,
)
PAUSE = 0.02  # seconds between two failing connections
KEY = "sb_secret_not_a_real_key"
# Built beside the old one, without a pause.
BESIDE = {Reason.DEAF, Reason.RETRY, Reason.REFRESH, Reason.AWAY, Reason.SLOW}


async def until(condition: Callable[[], Any], within: float = 10.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


class RecordingObserver(DoorbellObserver):
    """Records every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def ready(self, bell: Bell) -> None:
        self.calls.append(("ready", bell))

    def down(self, reason: Reason) -> None:
        self.calls.append(("down", reason))

    def rebuilt(self, reason: Reason) -> None:
        self.calls.append(("rebuilt", reason))

    def refused(self, bell: Bell, text: str) -> None:
        self.calls.append(("refused", bell, text))

    def deaf(self, bell: Bell) -> None:
        self.calls.append(("deaf", bell))


class DoorbellHarness:
    """A running doorbell. `timing` overrides FAST; other options are the doorbell's own."""

    def __init__(self, url: str, *, timing: dict[str, Any] | None = None, **options: Any) -> None:
        self.key: str | Exception = options.pop("key", KEY)
        self.rings: list[str] = []
        self.observer = RecordingObserver()
        self.pauses: list[int] = []  # the number of failures before each
        self.longest: list[float] = []  # how long each might have been
        self.key_reads = 0  # one per connection that was tried
        self.expected_reads = 1  # reads that follow no pause
        self.stopped = False
        own = {"tables": ["tma_events"], "wake": self.rings.append, "observer": self.observer}
        self.doorbell = Doorbell(
            url=url,
            key=self._read_key,
            pause=self._pause,
            timing=replace(FAST, **(timing or {})),
            **own | options,
        )
        self.task = asyncio.create_task(self.doorbell.run())

    async def stop(self) -> None:
        """Stop the doorbell."""
        self.stopped = True
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    async def ready(self, *bells: Bell) -> None:
        """Wait until these bells are ready; all, if none is named."""
        await until(lambda: all(self.state(bell) == "ready" for bell in bells or Bell))

    async def rebuilt(self, reason: Reason, times: int = 1) -> None:
        """Wait until connections were given up this many times for this reason."""
        await until(lambda: self.observer.calls.count(("rebuilt", reason)) >= times)

    def state(self, bell: Bell) -> str:
        """Return the state of a bell as the status shows it."""
        return getattr(self.doorbell.status, bell.value).value

    @property
    def reasons(self) -> list[Reason]:
        """Why connections were given up so far."""
        return [call[1] for call in self.observer.calls if call[0] == "rebuilt"]

    @property
    def spun(self) -> bool:
        """Whether it ever dialled without a pause and without a reason to build a successor."""
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
