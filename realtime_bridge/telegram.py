"""One message to one chat, and what the result means."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import assert_never

import aiohttp
import structlog
from aiogram import Bot
from aiogram.enums import ParseMode
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
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
from aiogram.methods import GetMe
from aiogram.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    WebAppInfo,
)
from cachetools import LRUCache

from realtime_bridge.botapi import Send
from realtime_bridge.laps import Laps
from realtime_bridge.line import Line
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
from realtime_bridge.redaction import Redactor
from realtime_bridge.rpc import Refused, Unavailable

log = structlog.get_logger()

CONNECT_SECONDS = 10.0
# After a 429 that does not say how long to wait.
FLOOD_SECONDS = 1.0
# A longer pause is told again when it is over, or it was nonsense.
LONGEST_PAUSE = 86_400.0
# A name may be an address, and what is behind it is not ours to show.
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
_UNREDACTED = Redactor()


def verdict(error: Exception) -> Outcome:  # noqa: C901 - one case for each kind of answer
    """Say what an exception of aiogram means for the message.

    ======================================================= ==============================
    what happened                                           outcome
    ======================================================= ==============================
    429                                                     Retry, not counted: not sent
    403: blocked, deactivated, never started                Failed(blocked)
    400 chat not found                                      Failed(chat_not_found)
    any other 400; 413 too large                            Failed(rejected)
    401; 404 (no such bot)                                  Halted: the token is wrong
    no connection was made (DNS, refused, TLS, timeout)     Retry: not sent
    timeout, reset or 5xx after the request was written     Uncertain
    an answer that cannot be read (an HTML page of a proxy) Uncertain
    anything else                                           Uncertain, with its traceback
    ======================================================= ==============================

    Some 400s have a way out, which is tried before anybody asks for the verdict: see way_out().
    """
    text = _description(error)
    match error:
        case TelegramRetryAfter(retry_after=asked):
            seconds = float(min(max(asked, FLOOD_SECONDS), LONGEST_PAUSE))
            return Retry(f"Telegram: retry after {seconds:g} s", after=seconds, counted=False)
        case TelegramAPIError() if "too many requests" in text.lower():
            return Retry(f"Telegram: {text}", after=FLOOD_SECONDS, counted=False)
        case TelegramForbiddenError():
            return Failed(Failure.BLOCKED, text)
        case TelegramBadRequest() if "chat not found" in text.lower():
            return Failed(Failure.CHAT_NOT_FOUND, text)
        case TelegramBadRequest() | TelegramMigrateToChat():
            return Failed(Failure.REJECTED, text)
        case TelegramEntityTooLarge():  # aiogram files it under network errors
            return Failed(Failure.REJECTED, text)
        case TelegramUnauthorizedError() | TelegramNotFound():
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


def _description(error: Exception) -> str:
    """What Telegram says; it may say nothing, whatever aiogram's types promise."""
    text: str | None = getattr(error, "message", None)
    return text or "Telegram gave no reason"


def _never_connected(cause: BaseException | None) -> bool:
    """True only where nothing can have been written: the connection itself failed."""
    return isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _kind(cause: BaseException | None) -> str:
    return type(cause).__name__ if cause is not None else "network error"


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent to one chat: the message, and the form that it takes."""

    chat_id: int
    message: Message
    plain: bool = False
    button: bool = True
    moved: bool = False


def way_out(refusal: Exception, letter: Letter) -> Letter | None:
    """Say what to send instead of what Telegram refused; None if there is nothing.

    ============================ ==================================
    refused because              instead
    ============================ ==================================
    the HTML cannot be parsed    the plain text
    of its button                the message without it
    the group is a supergroup    the same, to the supergroup
    ============================ ==================================

    A refusal sent nothing, so another send is safe. Each way is taken once: a letter that has
    taken it cannot be refused for the same reason again.
    """
    text = _description(refusal)
    match refusal:
        case TelegramMigrateToChat(migrate_to_chat_id=chat_id) if (
            not letter.moved and _is_a_supergroup(chat_id)
        ):
            return replace(letter, chat_id=chat_id, moved=True)
        case TelegramBadRequest() if not letter.plain and _is_about_html(text):
            return replace(letter, plain=True)
        case TelegramBadRequest() if letter.button and _is_about_a_button(text):
            return replace(letter, button=False)
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
        start_limit: float,
        paid: bool = False,
        redact: Redactor = _UNREDACTED,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Build a courier. `start` is the fence; the others are seconds.

        `send_timeout`: for Telegram's answer. `turn_limit`: that a row may wait for its turn.
        `start_limit`: from the beginning until sending starts; a row that takes longer is
        handed back, because its lease would not outlast the send.
        """
        self._bot = bot
        self._messages = messages
        self._pacing = pacing
        self._start = start
        # Connecting (DNS and TLS included) has a timeout of its own, because only a failure to
        # connect is safe to retry.
        self._timeout = aiohttp.ClientTimeout(
            total=send_timeout, connect=min(CONNECT_SECONDS, send_timeout / 2)
        )
        self._turn_limit = turn_limit
        self._start_limit = start_limit
        self._paid = paid
        self._redact = redact
        self._now = now
        self._moved: LRUCache[int, int] = LRUCache(10_000)  # groups that became supergroups
        self._line = Line(self._probe)

    async def __call__(self, event: TmaEvent, laps: Laps) -> Outcome:
        """Handle one event; every outcome it can name is returned, none is raised."""
        message = self._messages.render(event, now=self._now())
        laps.lap("render")
        wait = await self._pacing.turn(event.telegram_id, self._turn_limit)
        laps.lap("turn")
        if wait is not None:
            return Retry("waits for its turn", after=wait, counted=False)
        if halted := await self._line.test():
            return halted
        laps.lap("line")
        try:
            ours = await self._start(event)
        except (Unavailable, Refused) as error:
            # The fence may have been written, but this worker knows that it did not send. Why is
            # for the log: users may read the row.
            log.warning("fence_failed", id=event.id, error=str(error))
            return Retry("not sent, the fence did not answer", after=0.0, counted=False)
        finally:
            laps.lap("fence")
        if not ours:
            return Lost()
        if laps.seconds > self._start_limit:
            # A process that was frozen, or a slow database: the row may be somebody else's soon.
            return Retry("not sent, the fence answered too late", after=0.0, counted=False)
        try:
            return await self._deliver(event.telegram_id, message)
        finally:
            self._pacing.sent(event.telegram_id)
            laps.lap("send")

    async def _deliver(self, chat_id: int, message: Message) -> Outcome:
        """Send, following the refusals that have a way out."""
        letter = Letter(self._moved.get(chat_id, chat_id), message)
        while True:
            try:
                return await self._send(letter)
            except Exception as error:  # noqa: BLE001 - verdict() has a line for every kind
                instead = way_out(error, letter)
                if instead is None:
                    return self._judge(chat_id, error)
                log.warning("refused_and_sent_otherwise", error=self._redact.line(str(error)))
                if instead.moved:
                    self._moved[chat_id] = instead.chat_id
                letter = instead

    def _judge(self, chat_id: int, error: Exception) -> Outcome:
        outcome = redacted(verdict(error), self._redact)
        match outcome:
            case Retry(after=float(seconds), counted=False):  # a pause that Telegram asks for
                self._pacing.pause(chat_id, seconds)
            case Retry() | Uncertain():
                self._line.doubt()
            case _:
                pass
        return outcome

    async def _probe(self) -> str | None:
        """Ask Telegram something harmless; say why there is no answer."""
        try:
            await self._bot(GetMe(), request_timeout=self._timeout)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - verdict() has a line for every kind
            match redacted(verdict(error), self._redact):
                case Retry(why, after=None) | Uncertain(why):
                    return f"Telegram does not answer: {why}"
                case _:
                    pass  # whatever it says, it answers
        return None

    async def _send(self, letter: Letter) -> Sent:
        request = Send(
            chat_id=letter.chat_id,
            text=letter.message.plain if letter.plain else letter.message.html,
            parse_mode=None if letter.plain else ParseMode.HTML,
            reply_markup=_keyboard(letter),
            link_preview_options=_NO_PREVIEW,
            allow_paid_broadcast=self._paid or None,
        )
        # aiogram hands the timeout to aiohttp as it is, which takes more than its int.
        receipt = await self._bot(request, request_timeout=self._timeout)  # type: ignore[arg-type]
        return Sent(receipt.message_id)


def redacted(outcome: Outcome, redact: Redactor) -> Outcome:
    """Take out what Telegram, or who stands in its place, may have echoed of the token."""
    match outcome:
        case Failed(error=text):
            return replace(outcome, error=redact.line(text))
        case Retry(why=text) | Uncertain(why=text) | Halted(why=text):
            return replace(outcome, why=redact.line(text))
        case Sent() | Lost():
            return outcome
        case _:
            assert_never(outcome)


def _keyboard(letter: Letter) -> InlineKeyboardMarkup | None:
    button = letter.message.button if letter.button else None
    return keyboard(button, private=letter.chat_id > 0)


def keyboard(button: Button | None, *, private: bool) -> InlineKeyboardMarkup | None:
    """The button that opens the Mini App; web_app buttons exist in private chats only."""
    if button is None:
        return None
    if button.kind == "web_app" and private:
        key = InlineKeyboardButton(text=button.text, web_app=WebAppInfo(url=button.url))
    else:
        key = InlineKeyboardButton(text=button.text, url=button.url)
    return InlineKeyboardMarkup(inline_keyboard=[[key]])
