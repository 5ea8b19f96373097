"""When a lane claims next, and what for."""

import asyncio
from collections.abc import Callable
from math import inf

from realtime_bridge.model import Wake

# A claim that is to come so soon anyway is waited for when a slot comes free. While the bot's turns
# are all granted, one claim does for those of a moment.
SOON_SECONDS = 0.2


class Schedule:
    """A lane's deadlines: the next claim, and when the next row is due.

    A wake moves the claim to now. Deadlines only come nearer until they are taken; nothing is
    asked before the moment that hold_until() says.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock()`: seconds."""
        self.now = clock
        self.stopped = False
        self.rang = False  # since the last sweep began: for a row due soon, perhaps
        self.informed = False  # claims say when to ask again
        self._claim = (-inf, Wake.START)
        self._due_at = inf  # of the next row
        self._again_at = inf  # when a claim is worth it, by the word of the last one
        self._told_since = inf  # of due_at, as far as it was told since the last sweep began
        self._not_before = -inf
        self._moved = asyncio.Event()

    def wake(self, source: Wake) -> None:
        """Claim now."""
        self.rang = self.rang or source.is_a_bell
        self.claim_by(self.now(), source)

    def claim_by(self, when: float, source: Wake) -> None:
        """Claim then at the latest."""
        if when < self._claim[0]:
            self._claim = (when, source)
            self._moved.set()

    def due_in(self, seconds: float) -> None:
        """A row is due then."""
        when = self.now() + seconds
        self._due_at = min(self._due_at, when)
        self._told_since = min(self._told_since, when)
        self._moved.set()

    def told(self, again_in: float | None) -> None:
        """Take a claim's word for when to ask again; None: it does not know.

        It knows nothing of leases that end: what sweeps said stays.
        """
        self.informed = again_in is not None
        self._again_at = inf if again_in is None else self.now() + again_in
        self._moved.set()

    def refill_in(self, seconds: float) -> None:
        """Claim then, for slots that came free."""
        when = self.now() + seconds
        if when < self._again_at <= when + SOON_SECONDS:
            when = self._again_at
        self.claim_by(when, Wake.SETTLED)

    def sweeping(self) -> None:
        """Begin to take note of what the sweep that begins now may not know."""
        self.rang = False
        self._told_since = inf

    def swept(self, due_in: float | None) -> None:
        """Take the sweep's word for when the next row is due; what was told since stays."""
        self._due_at = self._told_since
        if due_in is not None:
            self.due_in(due_in)

    def hold_until(self, when: float) -> None:
        """Ask nothing before."""
        self._not_before = when

    def take(self) -> tuple[Wake, bool] | None:
        """Return what a claim is for, if it is time for one, and whether a due row is its reason.

        The deadlines are cleared by it, so call it before the claim: a wake during the claim is
        kept.
        """
        now = self.now()
        claim_at, source = self._claim
        due_at = self._due_at
        if now < min(claim_at, due_at, self._again_at):
            return None
        self._claim = (inf, source)
        again_at = self._again_at
        if again_at <= now:
            self._again_at = inf
        if due_at > now:
            return (source if claim_at <= again_at else Wake.DUE), False
        self._due_at = inf
        return (source if claim_at <= due_at else Wake.DUE), True

    def stop(self) -> None:
        """End rest(), for good."""
        self.stopped = True
        self._moved.set()

    async def rest(self) -> None:
        """Wait for the next deadline, which may come nearer meanwhile."""
        while not self.stopped:
            self._moved.clear()
            next_at = max(self._not_before, min(self._claim[0], self._due_at, self._again_at))
            seconds = next_at - self.now()
            if seconds <= 0:
                return
            try:
                async with asyncio.timeout(None if seconds == inf else seconds):
                    await self._moved.wait()
            except TimeoutError:
                return
