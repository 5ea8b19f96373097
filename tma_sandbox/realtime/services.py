"""What every socket and channel of one server shares."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tma_sandbox.jwks import SigningKeys
from tma_sandbox.realtime.database import Database
from tma_sandbox.realtime.directory import Directory
from tma_sandbox.realtime.feed import ChangeFeed
from tma_sandbox.realtime.tokens import Claims, verify
from tma_sandbox.realtime.tuning import Delays


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
