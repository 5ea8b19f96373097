"""An event loop whose clock jumps to the next timer, so that a minute takes no time."""

import asyncio
import os
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

    What is served and connected to as TCP is a Unix socket in truth: what one end wrote the other
    can read at once, however busy the machine is, so nobody need wait to see whether it comes.
    """

    async def create_server(self, protocol_factory, host=None, port=None, **options):
        """Listen at the address of this port."""
        return await self.create_unix_server(protocol_factory, _address(port), **options)

    async def create_connection(self, protocol_factory, host=None, port=None, **options):
        """Connect to whom listens there."""
        return await self.create_unix_connection(protocol_factory, _address(port), **options)

    def _run_once(self) -> None:
        if self._ready or self._selector.select(0):
            asyncio.SelectorEventLoop._run_once(self)
        else:
            super()._run_once()


def _address(port: int) -> str:
    """An abstract address, which is gone with its socket."""
    return f"\0virtual-time-{os.getpid()}-{port}"


def in_virtual_time(
    work: Coroutine[Any, Any, Any], loop: Callable[[], JumpingLoop] = JumpingLoop
) -> Any:
    """Run a coroutine on a JumpingLoop; nothing in it may use real I/O, unless it listens."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)
