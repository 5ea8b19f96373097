"""What this bridge says of itself to the database, for whoever looks at all of them."""

import socket
from collections.abc import Callable
from importlib import metadata
from typing import Any
from uuid import uuid4

from realtime_bridge.doorbell import DoorbellStatus
from realtime_bridge.settings import Settings


class Replica:
    """One running bridge among those that work on the same database."""

    def __init__(
        self,
        settings: Settings,
        doorbell: Callable[[], DoorbellStatus],
        every: Callable[[], float],
    ) -> None:
        """`every()`: seconds until it says so again."""
        self._settings = settings
        self._doorbell = doorbell
        self._every = every
        self._fixed = {
            "id": str(uuid4()),
            "name": socket.gethostname(),
            "version": metadata.version("realtime-bridge"),
            "per_second": settings.telegram_rate,
        }

    def told(self) -> dict[str, Any]:
        """Its name, version and limit, and what its doorbell hears at the moment."""
        status = self._doorbell()
        error = None if status.healthy else status.last_error
        return {
            **self._fixed,
            "changes": str(status.changes),
            "broadcast": str(status.broadcast),
            "problem": error and self._settings.redact.line(error),
            "every_seconds": self._every(),
        }
