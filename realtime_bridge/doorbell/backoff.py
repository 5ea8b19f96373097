"""Pauses between connections that fail."""

from collections.abc import Callable

from realtime_bridge.base import retry_delay

PauseAfter = Callable[[int, float], float]  # (failures so far, longest) -> seconds


def growing(failures: int, longest: float) -> float:
    """Return the seconds until the next try: about one at first, growing up to `longest`.

    >>> 0.5 <= growing(0, 3.0) <= 1.0, 1.5 <= growing(100, 3.0) <= 3.0
    (True, True)
    """
    return retry_delay(failures, first=1.0, factor=1.6, cap=longest)


class Backoff:
    """Counts failures since a connection last worked for a while.

    It is not reset by a bell that is ready for a moment: a server that accepts and then rejects
    must not be dialled in a spin.
    """

    def __init__(self, pause_after: PauseAfter) -> None:
        self.pause = 0.0  # seconds, the latest one
        self._pause_after = pause_after
        self._failures = 0

    def fail(self, *, lasted: bool, longest: float) -> None:
        """Set the pause after a connection failed; `lasted`: it had worked for a while."""
        if lasted:
            self._failures = 0
        self.pause = self._pause_after(self._failures, longest)
        self._failures += 1
