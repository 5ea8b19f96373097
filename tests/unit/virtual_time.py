"""An event loop whose clock jumps to the next timer, so that a minute takes no time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class JumpingLoop(asyncio.SelectorEventLoop):
    """Whenever nothing is ready to run, its time is the next timer's."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now

    def _run_once(self) -> None:
        timers = [timer._when for timer in self._scheduled if not timer._cancelled]
        if not self._ready and timers:
            # A little later, as real timers are: rounding must not make one fire for ever.
            self._now = max(self._now, min(timers)) + 1e-6
        super()._run_once()


class ListeningLoop(JumpingLoop):
    """A JumpingLoop that looks at its sockets before it jumps: both ends must be in this process.

    What one end wrote the other can read at once on loopback, or after a moment if the machine
    is busy.
    """

    def _run_once(self) -> None:
        if self._ready or self._selector.select(0.002):
            asyncio.SelectorEventLoop._run_once(self)
        else:
            super()._run_once()


def in_virtual_time(
    work: Coroutine[Any, Any, Any], loop: Callable[[], JumpingLoop] = JumpingLoop
) -> Any:
    """Run a coroutine on a JumpingLoop; nothing in it may use real I/O, unless it listens."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)
