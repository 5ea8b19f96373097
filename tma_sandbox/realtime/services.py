"""What all sockets and channels of one server share."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tma_sandbox.jwks import SigningKeys
from tma_sandbox.realtime.channel_registry import ChannelRegistry
from tma_sandbox.realtime.database import Database
from tma_sandbox.realtime.delays import Delays
from tma_sandbox.realtime.feed import ChangeFeed
from tma_sandbox.realtime.tokens import Claims, verify


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one server. `clock` returns seconds since 1970."""

    database: Database
    feed: ChangeFeed
    channels: ChannelRegistry
    secret: str
    signing: SigningKeys
    publication: str
    delays: Delays
    clock: Callable[[], float]
    rand: random.Random

    def claims(self, token: str | None) -> Claims:
        """Verify a token. Raises TokenError."""
        return verify(token, self.secret, self.clock(), self.signing)
