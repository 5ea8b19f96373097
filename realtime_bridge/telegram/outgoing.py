"""What is sent to one chat, and what to send instead of what Telegram refused."""

from dataclasses import dataclass, replace
from typing import Any

from aiogram.enums import ParseMode
from aiogram.exceptions import TelegramBadRequest, TelegramMigrateToChat
from aiogram.methods import TelegramMethod
from aiogram.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    WebAppInfo,
)

from realtime_bridge.messages import Button, Message
from realtime_bridge.telegram.verdict import description_of
from realtime_bridge.telegram.wire import Edit, Send

# A name may be an address, and what is behind it is not ours to show.
NO_PREVIEW = LinkPreviewOptions(is_disabled=True)


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What is sent to one chat: the message, and the form that it takes.

    `edits`: the message that it takes the place of; None: none.
    """

    chat_id: int
    message: Message
    edits: int | None = None
    plain: bool = False
    button: bool = True
    thread: bool = True
    moved: bool = False


def way_out(refusal: Exception, outgoing: OutgoingMessage) -> OutgoingMessage | None:
    """Say what to send instead of what Telegram refused; None if there is nothing.

    ============================ ==================================
    refused because              instead
    ============================ ==================================
    the HTML cannot be parsed    the plain text
    of its button                the message without it
    of its thread, or its end    the message without one
    the group is a supergroup    the same, to the supergroup
    ============================ ==================================

    A refusal sent nothing, so another send is safe. Each way is taken once: a message that has
    taken it cannot be refused for the same reason again.
    """
    text = description_of(refusal)
    match refusal:
        case TelegramMigrateToChat(migrate_to_chat_id=chat_id) if (
            not outgoing.moved and _is_a_supergroup(chat_id)
        ):
            return replace(outgoing, chat_id=chat_id, moved=True)
        case TelegramBadRequest() if not outgoing.plain and _is_about_html(text):
            return replace(outgoing, plain=True)
        case TelegramBadRequest() if outgoing.button and _is_about_a_button(text):
            return replace(outgoing, button=False)
        case TelegramBadRequest() if outgoing.thread and _is_about_a_thread(text):
            return replace(outgoing, thread=False)
        case _:
            return None


def _is_a_supergroup(chat_id: int) -> bool:
    """Nobody else's private chat, and no more than the 52 bits that Telegram's ids have."""
    return -(2**52) < chat_id < 0


def _is_about_html(refusal: str) -> bool:
    return "can't parse entities" in refusal.lower()


def _is_about_a_button(refusal: str) -> bool:
    """BUTTON_URL_INVALID, BUTTON_TYPE_INVALID, "inline keyboard button URL '...' is invalid"."""
    return "button" in refusal.lower()


def _is_about_a_thread(refusal: str) -> bool:
    """Telegram has no such topic, or nobody may write there any more."""
    signs = ("message thread not found", "topic_closed", "topic_deleted")
    return any(sign in refusal.lower() for sign in signs)


def request_of(outgoing: OutgoingMessage, *, paid: bool) -> TelegramMethod[Any]:
    """Build what Telegram is asked for; `paid`: as a paid broadcast."""
    options = outgoing.message.options
    common: dict[str, Any] = {
        "chat_id": outgoing.chat_id,
        "text": outgoing.message.plain if outgoing.plain else outgoing.message.html,
        "parse_mode": None if outgoing.plain else ParseMode.HTML,
        "reply_markup": keyboard_of(outgoing),
        "link_preview_options": None if options.preview else NO_PREVIEW,
    }
    if outgoing.edits is not None:
        return Edit(message_id=outgoing.edits, **common)
    if options.protect is not None:  # or else as the bot, which may be somebody else's, does it
        common["protect_content"] = options.protect
    return Send(
        message_thread_id=options.thread if outgoing.thread else None,
        disable_notification=options.silent,
        allow_paid_broadcast=paid or None,
        **common,
    )


def keyboard_of(outgoing: OutgoingMessage) -> InlineKeyboardMarkup | None:
    """Build what is shown below the message."""
    button = outgoing.message.button if outgoing.button else None
    return keyboard(button, private=outgoing.chat_id > 0)


def keyboard(button: Button | None, *, private: bool) -> InlineKeyboardMarkup | None:
    """The button that opens the Mini App; web_app buttons exist in private chats only."""
    if button is None:
        return None
    if button.kind == "web_app" and private:
        key = InlineKeyboardButton(text=button.text, web_app=WebAppInfo(url=button.url))
    else:
        key = InlineKeyboardButton(text=button.text, url=button.url)
    return InlineKeyboardMarkup(inline_keyboard=[[key]])
