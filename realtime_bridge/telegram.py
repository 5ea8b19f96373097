"""One message to one chat, and what the result means."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiohttp
import structlog
from aiogram import Bot
from aiogram.enums import ParseMode
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.methods import SendMessage
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup, TelegramObject, WebAppInfo
from cachetools import LRUCache

from realtime_bridge.laps import Laps
from realtime_bridge.messages import Button, Message, Messages
from realtime_bridge.model import (
    Failed,
    Failure,
    Halted,
    Lost,
    Outcome,
    Retry,
    Sent,
    TmaEvent,
    Uncertain,
)
from realtime_bridge.pacing import Pacing
from realtime_bridge.rpc import Unavailable

log = structlog.get_logger()

CONNECT_SECONDS = 10.0


class Receipt(TelegramObject):
    """The one part of Telegram's answer that the bridge keeps.

    Parsing the answer into aiogram's full Message would cost more than everything else on the
    way of a message.
    """

    message_id: int


class Send(SendMessage):
    """sendMessage (https://core.telegram.org/bots/api#sendmessage), answered by a Receipt."""

    __returning__ = Receipt  # type: ignore[assignment]  # narrower than aiogram's Message


def verdict(error: Exception) -> Outcome:
    """Say what an exception of aiogram means for the message.

    ======================================================= ==============================
    what happened                                           outcome
    ======================================================= ==============================
    429 with retry_after                                    Retry, not counted: not sent
    403: blocked, deactivated, never started                Failed(blocked)
    400 chat not found                                      Failed(chat_not_found)
    any other 400; 413 too large                            Failed(rejected)
    401; 404 (no such bot)                                  Halted: the token is wrong
    no connection was made (DNS, refused, TLS, timeout)     Retry: not sent
    timeout, reset or 5xx after the request was written     Uncertain
    an answer that cannot be read (an HTML page of a proxy) Uncertain
    anything else                                           Uncertain, with its traceback
    ======================================================= ==============================

    "Can't parse entities" and "migrated to a supergroup" are 400s with a way out: Courier tries
    it before it asks for the verdict.
    """
    match error:
        case TelegramRetryAfter(retry_after=seconds):
            return Retry(f"Telegram: retry after {seconds} s", after=float(seconds), counted=False)
        case TelegramForbiddenError(message=text):
            return Failed(Failure.BLOCKED, text)
        case TelegramBadRequest(message=text) if "chat not found" in text.lower():
            return Failed(Failure.CHAT_NOT_FOUND, text)
        case TelegramBadRequest(message=text) | TelegramMigrateToChat(message=text):
            return Failed(Failure.REJECTED, text)
        case TelegramEntityTooLarge(message=text):  # aiogram files it under network errors
            return Failed(Failure.REJECTED, text)
        case TelegramUnauthorizedError(message=text) | TelegramNotFound(message=text):
            return Halted(f"Telegram does not know this bot ({text}): check BOT_TOKEN")
        case TelegramNetworkError(__cause__=cause) if _never_connected(cause):
            return Retry(f"no connection to Telegram: {_kind(cause)}")
        case TelegramNetworkError(__cause__=cause):
            return Uncertain(f"no answer from Telegram: {_kind(cause)}")
        case TelegramServerError() | ClientDecodeError():
            return Uncertain(f"no clear answer from Telegram: {type(error).__name__}")
        case _:
            log.error("unknown_error", error=type(error).__name__, exc_info=error)
            return Uncertain(f"unexpected {type(error).__name__}")


def _never_connected(cause: BaseException | None) -> bool:
    """True only where nothing can have been written: the connection itself failed."""
    return isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _kind(cause: BaseException | None) -> str:
    return type(cause).__name__ if cause is not None else "network error"


class Courier:
    """Takes one claimed event to its chat: render, wait for the turn, pass the fence, send."""

    def __init__(
        self,
        bot: Bot,
        messages: Messages,
        pacing: Pacing,
        start: Callable[[TmaEvent], Awaitable[bool]],
        *,
        send_timeout: float,
        turn_limit: float,
        paid: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Build a courier. `start` is the fence; `send_timeout` and `turn_limit` are seconds."""
        self._bot = bot
        self._messages = messages
        self._pacing = pacing
        self._start = start
        # The connect timeout is apart, because only a failure to connect is safe to retry.
        self._timeout = aiohttp.ClientTimeout(
            total=send_timeout, sock_connect=min(CONNECT_SECONDS, send_timeout / 2)
        )
        self._turn_limit = turn_limit
        self._paid = paid
        self._now = now
        self._moved: LRUCache[int, int] = LRUCache(10_000)  # groups that became supergroups

    async def __call__(self, event: TmaEvent, laps: Laps) -> Outcome:
        """Handle one event; every outcome it can name is returned, none is raised."""
        message = self._messages.render(event, now=self._now())
        laps.lap("render")
        wait = await self._pacing.turn(event.telegram_id, self._turn_limit)
        laps.lap("turn")
        if wait is not None:
            return Retry("waits for its turn", after=wait, counted=False)
        try:
            ours = await self._start(event)
        except Unavailable as error:
            # The fence may have been written, but this worker knows that it did not send.
            return Retry(f"not sent, the fence did not answer: {error}", after=0.0, counted=False)
        finally:
            laps.lap("fence")
        if not ours:
            return Lost()
        try:
            return await self._deliver(event.telegram_id, message)
        finally:
            laps.lap("send")

    async def _deliver(self, chat_id: int, message: Message) -> Outcome:
        """Send, following the two refusals that name their own way out, once each."""
        chat = self._moved.get(chat_id, chat_id)
        markup = keyboard(message.button, private=chat > 0)
        try:
            try:
                return await self._send(chat, message.html, ParseMode.HTML, markup)
            except TelegramMigrateToChat as moved:
                chat = self._moved[chat_id] = moved.migrate_to_chat_id
                return await self._send(chat, message.html, ParseMode.HTML, markup)
            except TelegramBadRequest as refused:
                if "can't parse entities" not in refused.message.lower():
                    raise
                log.warning("html_refused", error=refused.message)
                return await self._send(chat, message.plain, None, markup)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - verdict() has a line for every kind
            outcome = verdict(error)
            if isinstance(error, TelegramRetryAfter):
                self._pacing.pause(chat_id, float(error.retry_after))
            return outcome

    async def _send(
        self,
        chat_id: int,
        text: str,
        parse_mode: ParseMode | None,
        markup: InlineKeyboardMarkup | None,
    ) -> Sent:
        request = Send(
            chat_id=chat_id,
            text=text,
            parse_mode=parse_mode,
            reply_markup=markup,
            allow_paid_broadcast=self._paid or None,
        )
        # aiogram hands the timeout to aiohttp as it is, which takes more than its int.
        receipt = await self._bot(request, request_timeout=self._timeout)  # type: ignore[arg-type]
        return Sent(receipt.message_id)


def keyboard(button: Button | None, *, private: bool) -> InlineKeyboardMarkup | None:
    """The button that opens the Mini App; web_app buttons exist in private chats only."""
    if button is None:
        return None
    if button.kind == "web_app" and private:
        key = InlineKeyboardButton(text=button.text, web_app=WebAppInfo(url=button.url))
    else:
        key = InlineKeyboardButton(text=button.text, url=button.url)
    return InlineKeyboardMarkup(inline_keyboard=[[key]])
