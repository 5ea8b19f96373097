"""Progress messages for somebody who waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

_EVERY = 2.0  # seconds
_LONGEST = 30.0


class Progress:
    """Reports each step once, and repeats it while it lasts: after 2, 4, 8 seconds, ...

    `step` may be called from any thread.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tell = tell
        self._sleep = sleep
        self._step = ""

    def step(self, text: str) -> None:
        """Begin the next step."""
        self._step = text
        self._tell(text)

    @asynccontextmanager
    async def reminding(self) -> AsyncIterator[None]:
        """Repeat the current step while the context lasts."""
        task = asyncio.create_task(self._remind())
        try:
            yield
        finally:
            task.cancel()

    async def _remind(self) -> None:
        """Repeat the step whenever it has lasted twice as long as at the last report."""
        step, lasted, due = self._step, 0.0, _EVERY
        while True:
            await self._sleep(_EVERY)
            if self._step is not step:
                step, lasted, due = self._step, 0.0, _EVERY
            lasted += _EVERY
            if lasted >= due:
                self._tell(f"  {step} ... {lasted:.0f} s")
                due = lasted + min(lasted, _LONGEST)
