"""Telegram's rate limits: for the bot, for each private chat, for each group, and told pauses.

Limits: https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiolimiter import AsyncLimiter
from cachetools import TTLCache

# The network bunches what leaves evenly: at exactly the allowed rate some second would hold one
# message too many.
MARGIN = 0.96
# How long a row may keep its slot while its chat must wait; then the slot goes to another chat.
PATIENCE_SECONDS = 1.5
# A chat's limiter says nothing any more once its bucket has drained, which takes a minute at most.
FORGET_SECONDS = 120.0
MAX_CHATS = 100_000
# A 429 does not say whether it means the chat or the bot. So many chats at once: the bot.
CHATS_THAT_MEAN_THE_BOT = 3
AT_ONCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Messages per second for the bot and for a private chat, per minute for a group."""

    bot_per_second: float = 30.0
    chat_per_second: float = 1.0
    chat_burst: int = 3
    group_per_minute: float = 20.0


class Pacing:
    """Hands out turns to send, so that Telegram has no reason to answer 429."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        # Two at a time, so that a timer that fires late is made up for by the next.
        self._bot = AsyncLimiter(2, 2 / (limits.bot_per_second * MARGIN))
        self._chats: TTLCache[int, AsyncLimiter] = TTLCache(MAX_CHATS, FORGET_SECONDS, clock)
        self._paused_until: TTLCache[int, float] = TTLCache(MAX_CHATS, 3600, clock)
        self._told: TTLCache[int, None] = TTLCache(MAX_CHATS, AT_ONCE_SECONDS, clock)
        self._bot_paused_until = 0.0

    @property
    def bot_pause(self) -> float:
        """Seconds for which the whole bot must send nothing."""
        return max(self._bot_paused_until - self._clock(), 0.0)

    async def turn(self, chat_id: int, within: float) -> float | None:
        """Wait for this chat's turn, at most `within` seconds.

        Returns None when it is time to send, else the seconds after which to ask again.
        """
        if paused := self._pause_of(chat_id):
            return paused
        try:
            # The chat first: a turn of the bot must not be used up by a chat that must wait.
            async with asyncio.timeout(min(PATIENCE_SECONDS, within)):
                await self._chat(chat_id).acquire()
            async with asyncio.timeout(within):
                await self._bot.acquire()
        except TimeoutError:
            return PATIENCE_SECONDS
        return self._pause_of(chat_id) or None  # told meanwhile, by the answer to another row

    def pause(self, chat_id: int, seconds: float) -> None:
        """Telegram told this chat to wait; when it tells several at once it means the bot."""
        until = self._clock() + seconds
        self._paused_until[chat_id] = until
        self._told[chat_id] = None
        if len(self._told) >= CHATS_THAT_MEAN_THE_BOT:
            self._bot_paused_until = max(self._bot_paused_until, until)

    def _pause_of(self, chat_id: int) -> float:
        return max(self.bot_pause, self._paused_until.get(chat_id, 0.0) - self._clock(), 0.0)

    def _chat(self, chat_id: int) -> AsyncLimiter:
        limiter = self._chats.get(chat_id)
        if limiter is None:
            limiter = self._new_limiter(chat_id)
            self._chats[chat_id] = limiter
        return limiter

    def _new_limiter(self, chat_id: int) -> AsyncLimiter:
        limits = self._limits
        if chat_id < 0:  # groups, supergroups and channels have negative ids
            return AsyncLimiter(1, 60 / (limits.group_per_minute * MARGIN))
        burst = limits.chat_burst
        return AsyncLimiter(burst, burst / (limits.chat_per_second * MARGIN))
