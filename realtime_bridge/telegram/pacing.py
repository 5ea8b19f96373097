"""Telegram's rate limits: for the bot, for each private chat, for each group, and told pauses.

Limits: https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from aiolimiter import AsyncLimiter
from cachetools import TTLCache

# The network bunches what leaves evenly: at exactly the allowed rate some second would hold one
# message too many.
MARGIN = 0.96
# A timer that fires late by less than this is made up for by the next.
LATE_SECONDS = 0.067
# How long a row may keep its slot while its chat must wait; then the slot goes to another chat.
PATIENCE_SECONDS = 1.5
# A chat's pace says nothing any more once it may send a burst again, a minute later at most.
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


class Pace:
    """One chat's: `burst` messages at once, then one every `interval` seconds.

    >>> pace = Pace(interval=1.0, burst=2)
    >>> [pace.take(now) for now in (0.0, 0.0, 0.25)]
    [0.0, 0.0, 0.75]
    """

    def __init__(self, interval: float, burst: int) -> None:
        self._interval = interval
        self._slack = (burst - 1) * interval
        self._even_at = -inf  # when the chat would be idle again if all went at even intervals

    def take(self, now: float) -> float:
        """Plan a message; seconds until it may go."""
        goes_at = max(self._even_at - self._slack, now)
        self._even_at = max(self._even_at, now) + self._interval
        return goes_at - now

    def give_back(self) -> None:
        """The message that was planned last does not go."""
        self._even_at -= self._interval

    def sent(self, now: float) -> None:
        """The message has arrived by now: count it from here, not from when it was planned."""
        self._even_at = max(self._even_at, now + self._interval)


class Pacing:
    """Hands out turns to send, so that Telegram has no reason to answer 429."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        rate = limits.bot_per_second * MARGIN
        at_once = max(2.0, rate * LATE_SECONDS)
        self._bot = AsyncLimiter(at_once, at_once / rate)
        self._chats: TTLCache[int, Pace] = TTLCache(MAX_CHATS, FORGET_SECONDS, clock)
        self._paused_until: TTLCache[int, float] = TTLCache(MAX_CHATS, 3600, clock)
        self._told: TTLCache[int, None] = TTLCache(MAX_CHATS, AT_ONCE_SECONDS, clock)
        self._bot_paused_until = 0.0

    @property
    def bot_pause(self) -> float:
        """Seconds for which the whole bot must send nothing."""
        return max(self._bot_paused_until - self._clock(), 0.0)

    async def turn(self, chat_id: int, within: float) -> float | None:
        """Wait for this chat's turn, at most `within` seconds.

        Returns None when it is time to send, else the seconds after which to ask again. The
        send is followed by sent().
        """
        if paused := self._pause_of(chat_id):
            return paused
        # The chat first: a turn of the bot must not be used up by a chat that must wait.
        pace = self._pace_of(chat_id)
        wait = pace.take(self._clock())
        if wait > min(PATIENCE_SECONDS, within):
            pace.give_back()
            return wait
        await asyncio.sleep(wait)
        try:
            async with asyncio.timeout(within):
                await self._bot.acquire()
        except TimeoutError:
            pace.give_back()
            return PATIENCE_SECONDS
        return self._pause_of(chat_id) or None  # told meanwhile, by the answer to another row

    def sent(self, chat_id: int) -> None:
        """Tell that a message has been sent, or may have been.

        Telegram saw it some time after its turn. Counted from its turn, two messages could come
        closer together there than here.
        """
        self._pace_of(chat_id).sent(self._clock())

    def pause(self, chat_id: int, seconds: float) -> None:
        """Telegram told this chat to wait; when it tells several at once it means the bot."""
        until = self._clock() + seconds
        self._paused_until[chat_id] = until
        self._told[chat_id] = None
        if len(self._told) >= CHATS_THAT_MEAN_THE_BOT:
            self._bot_paused_until = max(self._bot_paused_until, until)

    def _pause_of(self, chat_id: int) -> float:
        return max(self.bot_pause, self._paused_until.get(chat_id, 0.0) - self._clock(), 0.0)

    def _pace_of(self, chat_id: int) -> Pace:
        pace = self._chats.get(chat_id) or self._new_pace(chat_id)
        self._chats[chat_id] = pace  # remembered from its last use on
        return pace

    def _new_pace(self, chat_id: int) -> Pace:
        limits = self._limits
        if chat_id < 0:  # groups, supergroups and channels have negative ids
            return Pace(60 / (limits.group_per_minute * MARGIN), 1)
        return Pace(1 / (limits.chat_per_second * MARGIN), limits.chat_burst)
