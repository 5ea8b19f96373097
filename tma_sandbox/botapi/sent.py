"""The messages that the Bot API has accepted."""

import asyncio
from collections import Counter, deque
from typing import Any

from tma_sandbox.botapi.message import Draft

_KEPT = 100_000

SentMessage = dict[str, Any]
"""One accepted message: `number` (1, 2, ... over all bots), `message_id` (over one bot), `bot_id`,
`chat_id`, `text` as the user reads it, `raw` as it was sent, `parse_mode`, `entities`,
`reply_markup`, `link_preview_options`, `received_at` (unix seconds)."""


class SentMessages:
    """Accepted messages, oldest first; the last 100,000 are kept."""

    def __init__(self) -> None:
        self.count = 0
        self._messages: deque[SentMessage] = deque(maxlen=_KEPT)
        self._last_ids: Counter[int] = Counter()
        self._changed = asyncio.Condition()
        self._closed = False

    async def add(self, bot_id: int, draft: Draft, received_at: float) -> SentMessage:
        """Store a message under the next number and the bot's next message id."""
        self._last_ids[bot_id] += 1
        self.count += 1
        message = {
            "number": self.count,
            "message_id": self._last_ids[bot_id],
            "bot_id": bot_id,
            "chat_id": draft.chat_id,
            "text": draft.text,
            "raw": draft.raw,
            "parse_mode": draft.parse_mode,
            "entities": draft.entities,
            "reply_markup": draft.reply_markup,
            "link_preview_options": draft.link_preview_options,
            "received_at": received_at,
        }
        self._messages.append(message)
        async with self._changed:
            self._changed.notify_all()
        return message

    def after(self, number: int = 0) -> list[SentMessage]:
        """The messages after this number."""
        return [message for message in self._messages if message["number"] > number]

    def clear(self) -> None:
        """Clear the messages; the numbers continue."""
        self._messages.clear()

    async def wait_for(self, count: int, timeout: float) -> bool:
        """Wait until `count` messages were accepted since the start; False if it takes too long."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self.count >= count or self._closed)
        except TimeoutError:
            pass
        return self.count >= count

    async def close(self) -> None:
        """End all waits."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()
