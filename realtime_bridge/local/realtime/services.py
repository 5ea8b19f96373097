"""What every socket and channel of one server shares."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from realtime_bridge.local.jwks import SigningKeys
from realtime_bridge.local.realtime.database import Database
from realtime_bridge.local.realtime.directory import Directory
from realtime_bridge.local.realtime.feed import ChangeFeed
from realtime_bridge.local.realtime.tokens import Claims, verify
from realtime_bridge.local.realtime.tuning import Delays


@dataclass(frozen=True, slots=True)
class Services:
    """The parts, handed to whoever needs them. `clock` tells seconds since 1970."""

    database: Database
    feed: ChangeFeed
    directory: Directory
    secret: str
    signing: SigningKeys
    publication: str
    delays: Delays
    clock: Callable[[], float]
    rand: random.Random

    def claims(self, token: str | None) -> Claims:
        """Check a token now; raises TokenError."""
        return verify(token, self.secret, self.clock(), self.signing)
