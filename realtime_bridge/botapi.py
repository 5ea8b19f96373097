"""sendMessage on the wire: what goes out as JSON, what comes back cut down to what is kept.

aiogram's own way, a form and a whole Message, takes most of the time that a message costs here.
"""

from typing import TYPE_CHECKING, Any

from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.methods import SendMessage
from aiogram.types import TelegramObject
from aiohttp import BytesPayload

if TYPE_CHECKING:
    from aiogram import Bot


class Receipt(TelegramObject):
    """The one part of Telegram's answer that the bridge keeps."""

    message_id: int


class Send(SendMessage):
    """sendMessage (https://core.telegram.org/bots/api#sendmessage), answered by a Receipt."""

    __returning__ = Receipt  # type: ignore[assignment]  # narrower than aiogram's Message


class Session(AiohttpSession):
    """aiogram's session for a bot without defaults; it posts a Send as JSON.

    https://core.telegram.org/bots/api#making-requests
    """

    def build_form_data(self, bot: "Bot", method: Any) -> Any:
        """Return the request's body, which aiogram hands to aiohttp as it is."""
        if not isinstance(method, Send):
            return super().build_form_data(bot, method)
        body = method.model_dump_json(exclude_unset=True, exclude_none=True)
        return BytesPayload(body.encode(), content_type="application/json")
