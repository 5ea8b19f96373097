"""Everything that the policy goes by, as of one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from realtime_bridge.doorbell.bells import Bell
from realtime_bridge.doorbell.faults import Fault, Reason
from realtime_bridge.doorbell.subscription import Subscription


@dataclass(frozen=True, slots=True)
class RenewalRequest:
    """Somebody asked for a connection newer than this one."""

    reason: Reason
    age: float  # seconds since it was made
    pause: float  # seconds between two tries


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A connection and the state around it; durations in seconds."""

    age: float  # of the connection, since it was begun
    subscription: Subscription
    wanted: frozenset[Bell]  # by the settings; the subscription may have been narrowed
    joined: bool = False  # the server has replied to the join
    ready: frozenset[Bell] = frozenset()
    refused: frozenset[Bell] = frozenset()
    deaf: frozenset[Bell] = frozenset()
    silent: Mapping[Bell, float] = field(default_factory=dict)  # since the claim of a missed row
    suspect: frozenset[Bell] = frozenset()  # silent before, renewed for it, and silent again
    fault: Fault | None = None
    better_key: bool = False  # the key in use expires soon, and there is another one
    requested: RenewalRequest | None = None
    retry_after: float = inf  # how long to wait before asking again for what is missing
    since_full: float = 0.0  # since all wanted bells were last asked for
    since_renewal: float = inf  # since a successor was last begun
    since_silence: float = inf  # since one was last begun because of silence
    renewing: bool = False  # a successor is on its way

    @property
    def trusted(self) -> frozenset[Bell]:
        """The bells that count."""
        return self.ready - self.deaf
