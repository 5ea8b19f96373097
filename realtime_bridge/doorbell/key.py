"""The key that a connection uses, and when it expires."""

from collections.abc import Callable

import structlog

from realtime_bridge.credentials import seconds_left

log = structlog.get_logger()

HINT = (
    "write the new key to the file that SUPABASE_KEY_FILE names, or put it into .env and send "
    "SIGHUP; no restart is needed"
)


class KeyWatch:
    """Watches when keys expire, and whether there is a better one by now."""

    def __init__(self, read: Callable[[], str], now: Callable[[], float], warning: float) -> None:
        """`read()` returns the key to use now; `warning`: seconds left from which to warn."""
        self._read = read
        self._now = now
        self._warning = warning
        self._warned: set[tuple[str, bool]] = set()

    def left(self, key: str) -> float:
        """Return the seconds until a key expires; inf if it never does."""
        return seconds_left(key, self._now())

    def better_than(self, key: str) -> bool:
        """Whether the key to use now is another one that is valid longer."""
        try:
            other = self._read()
        except Exception as error:  # noqa: BLE001 - perhaps a file that is being replaced
            log.warning("doorbell_key_unreadable", error=type(error).__name__)
            return False
        return other != key and self.left(other) > self.left(key)

    def warn(self, key: str, *, last_call: bool) -> None:
        """Log once for each key that it expires soon; `last_call`: and there is no other one."""
        left = self.left(key)
        soon = last_call or left < self._warning
        if not soon or (key, last_call) in self._warned:
            return
        self._warned.add((key, last_call))
        write = log.error if last_call else log.warning
        write("doorbell_key_expires", seconds_left=round(left), hint=HINT)
