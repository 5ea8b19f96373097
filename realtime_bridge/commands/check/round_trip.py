"""Insert a row and wait for its ring: what no catalog can tell."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from realtime_bridge.commands.check.database import PUBLISH
from realtime_bridge.commands.check.finding import Finding, Fix, failed, ok, skipped, warning
from realtime_bridge.commands.check.fixes import Fixes
from realtime_bridge.database import Refused, Rpc, Unavailable
from realtime_bridge.doorbell import (
    Bell,
    BellState,
    Doorbell,
    DoorbellObserver,
    Reason,
    Timing,
    wanted,
)
from realtime_bridge.settings import Settings

NAME = "realtime"
JOIN_SECONDS = 15.0
RING_SECONDS = 5.0
# A cold server needs three seconds; a refusal comes after five.
_TIMING = Timing(ready_timeout=10.0)
# How Realtime says that it cannot verify a token: when the connection is made, and at a join.
_OF_THE_KEY = ("401", "JWT", "Jwt")


@dataclass
class RoundTrip:
    """What happened; times in milliseconds."""

    wanted: frozenset[Bell]
    joined: float | None = None
    refused: dict[Bell, str] = field(default_factory=dict)
    heard: dict[Bell, float] = field(default_factory=dict)  # since the insert was begun
    lost: str | None = None  # why there is no connection
    no_probe: str | None = None  # why no row could be inserted


class _Ear(DoorbellObserver):
    """Notes what a doorbell tells, and when."""

    def __init__(self) -> None:
        self.refused_bells: dict[Bell, str] = {}
        self.heard: dict[Bell, float] = {}
        self.lost: Reason | None = None
        self.changed = asyncio.Event()

    def ready(self, bell: Bell) -> None:  # noqa: ARG002 - the doorbell's status knows which
        self.changed.set()

    def refused(self, bell: Bell, text: str) -> None:
        self.refused_bells[bell] = text
        self.changed.set()

    def rebuilt(self, reason: Reason) -> None:
        if reason is not Reason.REFUSED:  # that one asks again for what is left
            self.lost = reason
            self.changed.set()

    def wake(self, source: str) -> None:
        with suppress(ValueError):  # "ready" is no bell
            self.heard.setdefault(Bell(source), time.perf_counter())
            self.changed.set()

    async def until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until something holds, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    self.changed.clear()
                    await self.changed.wait()


async def round_trip(settings: Settings, rpc: Rpc) -> RoundTrip:
    """Subscribe as the bridge does, insert a probe, wait for its rings, delete it."""
    trip = RoundTrip(wanted(settings.doorbell))
    ear = _Ear()
    doorbell = Doorbell(
        url=settings.supabase_url,
        key=lambda: settings.key.secret,
        api_key=lambda: settings.key.gateway,
        tables=["tma_events"],
        wake=ear.wake,
        mode=settings.doorbell,
        observer=ear,
        timing=_TIMING,
    )
    begun = time.perf_counter()
    running = asyncio.create_task(doorbell.run())
    try:
        await ear.until(lambda: bool(ear.lost) or _settled(doorbell), JOIN_SECONDS)
        trip.refused = dict(ear.refused_bells)
        if not doorbell.healthy:
            trip.lost = doorbell.status.last_error or f"not ready within {JOIN_SECONDS:g} s"
            return trip
        trip.joined = (time.perf_counter() - begun) * 1000
        await _probe(trip, ear, rpc)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return trip


def _settled(doorbell: Doorbell) -> bool:
    """Whether the server has answered for every bell, and the connection for these stands."""
    return not {doorbell.status.changes, doorbell.status.broadcast} & {BellState.DOWN}


async def _probe(trip: RoundTrip, ear: _Ear, rpc: Rpc) -> None:
    ear.heard.clear()
    inserted = time.perf_counter()
    try:
        probe = await rpc.call("insert_tma_probe")
    except (Unavailable, Refused) as error:
        trip.no_probe = str(error)
        return
    try:
        await ear.until(
            lambda: (trip.wanted - trip.refused.keys()) <= ear.heard.keys(), RING_SECONDS
        )
        trip.heard = {bell: (at - inserted) * 1000 for bell, at in ear.heard.items()}
    finally:
        with suppress(Unavailable, Refused):  # then a purge deletes it
            await rpc.call("delete_tma_probe", {"p_id": probe})


@dataclass(frozen=True, slots=True)
class Remedies:
    """Fixes for what a round trip finds, besides those that every project shares."""

    fixes: Fixes
    broadcast: Fix  # where it is refused
    key: Fix | None  # where Realtime refuses what PostgREST takes; None: no signing key is in play


def realtime_finding(trip: RoundTrip, remedies: Remedies) -> Finding:
    """Interpret a round trip: one bell is enough to work, two were asked for."""
    fix = _fix(trip, remedies)
    if trip.lost:
        return failed(NAME, f"no subscription: {trip.lost}", fix)
    if trip.no_probe:
        return skipped(NAME, f"no probe could be inserted ({trip.no_probe})")
    times = ", ".join(f"{bell.value} rang after {ms:.0f} ms" for bell, ms in _sorted(trip.heard))
    if not trip.heard:
        text = f"joined, but nothing rang for a new row within {RING_SECONDS:g} s"
        return failed(NAME, text, fix)
    silent = sorted(trip.wanted - trip.heard.keys())
    if not silent:
        return ok(NAME, f"joined in {trip.joined:.0f} ms; {times}", max(trip.heard.values()))
    troubles = "; ".join(f"{bell.value}: {trip.refused.get(bell, 'silent')}" for bell in silent)
    return warning(NAME, f"{times}, but {troubles}", fix)


def _fix(trip: RoundTrip, remedies: Remedies) -> Fix:
    if trip.lost and remedies.key and any(word in trip.lost for word in _OF_THE_KEY):
        return remedies.key
    if Bell.CHANGES in trip.refused:
        return PUBLISH
    if Bell.BROADCAST in trip.refused:
        return remedies.broadcast
    return remedies.fixes.realtime()


def _sorted(heard: dict[Bell, float]) -> Iterator[tuple[Bell, float]]:
    return iter(sorted(heard.items(), key=lambda item: item[1]))
