"""The messages that the Bot API has accepted."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat

from tma_sandbox.botapi.message import Draft

_KEPT = 100_000

SentMessage = dict[str, Any]
"""One accepted message, as it is now: `number` (1, 2, ... over all bots), `message_id` (over one
bot), `bot_id`, `chat_id`, `text` as the user reads it, `raw` as it was sent, `parse_mode`,
`entities`, `reply_markup`, `link_preview_options`, `disable_notification`, `protect_content`,
`message_thread_id`, `received_at` (unix seconds), `edited_at` (the last edit's, or null), `history`
(what it was before each edit, oldest first, each with `at`), `change` (the number of its last
change: sent messages and edits are counted together)."""

_Place = tuple[int, int, int]  # bot, chat, message id


class Ageing(BaseModel):
    """By how much which messages become older: all, or those of a chat or an id."""

    model_config = ConfigDict(extra="forbid")

    seconds: FiniteFloat
    chat_id: int | None = None
    message_id: int | None = None


class SentMessages:
    """Accepted messages, oldest first; the last 100,000 are kept."""

    def __init__(self) -> None:
        self.count = 0
        self.changes = 0
        self._messages: OrderedDict[_Place, SentMessage] = OrderedDict()
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
            **_content(draft),
            "disable_notification": draft.disable_notification,
            "protect_content": draft.protect_content,
            "message_thread_id": draft.message_thread_id,
            "received_at": received_at,
            "edited_at": None,
            "history": [],
        }
        self._messages[bot_id, draft.chat_id, message["message_id"]] = message
        if len(self._messages) > _KEPT:
            self._messages.popitem(last=False)
        await self._note_change(message)
        return message

    def find(self, bot_id: int, chat_id: int, message_id: int) -> SentMessage | None:
        """A bot's message in a chat, if it is still kept."""
        return self._messages.get((bot_id, chat_id, message_id))

    async def edit(self, message: SentMessage, draft: Draft, received_at: float) -> bool:
        """Give a message its new content; False if that is what it has already."""
        new = _content(draft)
        before = {name: message[name] for name in new}
        if all(before[name] == new[name] for name in _COMPARED):
            return False
        since = message["received_at"] if message["edited_at"] is None else message["edited_at"]
        message["history"].append(before | {"at": since})
        message.update(new, edited_at=received_at)
        await self._note_change(message)
        return True

    def age(self, by: Ageing) -> int:
        """Make messages older; return how many."""
        aged = [
            message
            for message in self._messages.values()
            if by.chat_id in (None, message["chat_id"])
            and by.message_id in (None, message["message_id"])
        ]
        for message in aged:
            message["received_at"] -= by.seconds
        return len(aged)

    def after(self, number: int = 0) -> list[SentMessage]:
        """The messages after this number."""
        return [message for message in self._messages.values() if message["number"] > number]

    def changed_after(self, change: int) -> list[SentMessage]:
        """The messages that were sent or edited after this change, as they are now."""
        return [message for message in self._messages.values() if message["change"] > change]

    def clear(self) -> None:
        """Clear the messages; the numbers continue."""
        self._messages.clear()

    async def wait_for(self, count: int, timeout: float) -> bool:
        """Wait until `count` messages were accepted since the start; False if it takes too long."""
        await self._wait(lambda: self.count >= count, timeout)
        return self.count >= count

    async def wait_for_change(self, change: int, timeout: float) -> bool:
        """Wait until there were this many messages and edits; False if it takes too long."""
        await self._wait(lambda: self.changes >= change, timeout)
        return self.changes >= change

    async def close(self) -> None:
        """End all waits."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()

    async def _wait(self, reached: Callable[[], bool], timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: reached() or self._closed)
        except TimeoutError:
            pass

    async def _note_change(self, message: SentMessage) -> None:
        self.changes += 1
        message["change"] = self.changes
        async with self._changed:
            self._changed.notify_all()


# Not `raw` and `parse_mode`: other markup may say the same.
_COMPARED = ("text", "entities", "reply_markup", "link_preview_options")


def _content(draft: Draft) -> dict[str, Any]:
    """What an edit replaces."""
    return {
        "text": draft.text,
        "raw": draft.raw,
        "parse_mode": draft.parse_mode,
        "entities": draft.entities,
        "reply_markup": draft.reply_markup,
        "link_preview_options": draft.link_preview_options,
    }
