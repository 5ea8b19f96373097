"""Telegram's published limits on sending."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from time import monotonic
from typing import Any


@dataclass(frozen=True, slots=True)
class Rates:
    """How much a bot may send; the defaults are from Telegram's FAQ for bots."""

    bot_per_second: float = 30
    chat_per_second: float = 1
    chat_burst: float = 3
    group_per_minute: float = 20

    @classmethod
    def read(cls, values: dict[str, Any]) -> "Rates":
        """Parse JSON; missing values keep their defaults. Raises ValueError."""
        known = {field.name for field in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"unknown limit {name!r}; known are {', '.join(sorted(known))}")
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ValueError(f"{name} must be a number above 0")
        return cls(**values)


class TokenBucket:
    """A token bucket: `rate` tokens per second, at most `size` of them."""

    __slots__ = ("_at", "_rate", "_size", "_tokens")

    def __init__(self, rate: float, size: float, now: float) -> None:
        self._rate = rate
        self._size = size
        self._tokens = size
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0 if there is one."""
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        # The tolerance keeps rounding errors from refusing a sender who is on time.
        return 0.0 if self._tokens >= 1 - 1e-6 else (1 - self._tokens) / self._rate

    def take(self) -> None:
        """Use up a token; `wait` must have returned 0."""
        self._tokens -= 1


class RateLimiter:
    """Decides whether a bot may send a message now."""

    def __init__(self, rates: Rates, clock: Callable[[], float] = monotonic) -> None:
        self.rates = rates
        self.refused = 0
        self._clock = clock
        self._buckets: dict[tuple[int, int | None], TokenBucket] = {}

    def retry_after(self, bot: int, chat: int) -> int | None:
        """Return None if a message to `chat` may be sent, else the whole seconds to wait."""
        now = self._clock()
        rates = self.rates
        per_chat = (
            TokenBucket(rates.chat_per_second, rates.chat_burst, now)
            if chat > 0
            else TokenBucket(rates.group_per_minute / 60, rates.group_per_minute, now)
        )
        of_bot = TokenBucket(rates.bot_per_second, rates.bot_per_second, now)
        buckets = (
            self._buckets.setdefault((bot, None), of_bot),
            self._buckets.setdefault((bot, chat), per_chat),
        )
        wait = max(bucket.wait(now) for bucket in buckets)
        if wait:
            self.refused += 1
            return math.ceil(wait)
        for bucket in buckets:
            bucket.take()
        return None
