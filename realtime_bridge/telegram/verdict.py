"""What Telegram's answer means for the message.

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

An edit can be repeated without harm, so nothing about it is uncertain:

======================================================= ==============================
400 message is not modified                             Sent: it says so already
400 there is no such message, or it cannot be edited    Retry at once, as a new message
what would be uncertain of a new message                Retry
anything else                                           as of a new message
======================================================= ==============================
"""

from dataclasses import replace
from typing import assert_never

import aiohttp
import structlog
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

from realtime_bridge.credentials import Redactor
from realtime_bridge.outcomes import (
    Cause,
    Failed,
    Failure,
    Halted,
    Lost,
    Outcome,
    Retry,
    Sent,
    Uncertain,
)

log = structlog.get_logger()

# After a 429 that does not say how long to wait.
FLOOD_SECONDS = 1.0
# A longer pause is told again when it is over, or it was nonsense.
LONGEST_PAUSE = 86_400.0
# A message that is gone, somebody else's, too old, or without a text.
_NOT_EDITABLE = (
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
    "message_author_required",
    "message_edit_time_expired",
    "no text in the message to edit",
)


def verdict(error: Exception) -> Outcome:  # noqa: C901 - one case for each kind of answer
    """Say what an exception of aiogram means for the message.

    The policy is the table above. Some 400s have a way out, which is tried first: see way_out().
    """
    text = description_of(error)
    match error:
        case TelegramRetryAfter(retry_after=asked):
            seconds = float(min(max(asked, FLOOD_SECONDS), LONGEST_PAUSE))
            return Retry(
                f"Telegram: retry after {seconds:g} s",
                after=seconds,
                counted=False,
                cause=Cause.TELEGRAM_PAUSE,
            )
        case TelegramAPIError() if "too many requests" in text.lower():
            return Retry(
                f"Telegram: {text}", after=FLOOD_SECONDS, counted=False, cause=Cause.TELEGRAM_PAUSE
            )
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
            return Retry(f"no connection to Telegram: {_kind(cause)}", cause=Cause.NO_CONNECTION)
        case TelegramNetworkError(__cause__=cause):
            return Uncertain(f"no answer from Telegram: {_kind(cause)}")
        case TelegramServerError() | ClientDecodeError():
            return Uncertain(f"no clear answer from Telegram: {type(error).__name__}")
        case _:
            log.error("unknown_error", error=type(error).__name__, exc_info=error)
            return Uncertain(f"unexpected {type(error).__name__}")


def edit_verdict(error: Exception, message_id: int) -> Outcome:
    """Say what an exception of aiogram means for an edit of this message."""
    text = description_of(error)
    match error:
        case TelegramBadRequest() if "message is not modified" in text.lower():
            return Sent(message_id)
        case TelegramBadRequest() if any(sign in text.lower() for sign in _NOT_EDITABLE):
            return Retry(f"not edited: {text}", after=0.0, counted=False, cause=Cause.EDIT_LOST)
        case _:
            pass
    outcome = verdict(error)
    match outcome:
        case Uncertain(why):
            return Retry(f"perhaps edited: {why}", cause=Cause.UNCERTAIN)
        case _:
            return outcome


def description_of(error: Exception) -> str:
    """What Telegram says; it may say nothing, whatever aiogram's types promise."""
    text: str | None = getattr(error, "message", None)
    return text or "Telegram gave no reason"


def _never_connected(cause: BaseException | None) -> bool:
    """True only where nothing can have been written: the connection itself failed."""
    return isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _kind(cause: BaseException | None) -> str:
    return type(cause).__name__ if cause is not None else "network error"


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
