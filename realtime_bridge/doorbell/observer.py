"""Who watches the doorbell."""

from realtime_bridge.doorbell.bells import Bell
from realtime_bridge.doorbell.faults import Reason


class DoorbellObserver:
    """Told what happens, for metrics; does nothing, so override what you need.

    What it raises is logged and goes no further.
    """

    def ready(self, bell: Bell) -> None:
        """A bell is ready (again)."""

    def down(self, reason: Reason) -> None:
        """No bell is ready any more."""

    def rebuilt(self, reason: Reason) -> None:
        """A connection was given up, and another one takes its place."""

    def refused(self, bell: Bell, text: str) -> None:
        """The server will not ring this bell; it is asked again from time to time."""

    def deaf(self, bell: Bell) -> None:
        """A bell stayed silent after it was renewed; it does not count until it rings."""
