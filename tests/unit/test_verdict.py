"""What each exception of aiogram means for the message."""

import ssl

import aiohttp
import pytest
from aiogram.exceptions import (
    ClientDecodeError,
    RestartingTelegram,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramConflictError,
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

from realtime_bridge.messages.renderer import Button
from realtime_bridge.outcomes import Cause, Failed, Failure, Halted, Retry, Sent, Uncertain
from realtime_bridge.telegram.outgoing import keyboard
from realtime_bridge.telegram.verdict import edit_verdict, verdict

METHOD = SendMessage(chat_id=1, text="x")


def network(cause):
    error = TelegramNetworkError(METHOD, "HTTP Client says")
    error.__cause__ = cause
    return error


def connector(kind=aiohttp.ClientConnectorError):
    return kind(None, OSError(111, "refused"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            TelegramRetryAfter(METHOD, "Flood", 7),
            Retry("Telegram: retry after 7 s", 7.0, False, Cause.TELEGRAM_PAUSE),
        ),
        (
            TelegramForbiddenError(METHOD, "bot was blocked by the user"),
            Failed(Failure.BLOCKED, "bot was blocked by the user"),
        ),
        (
            TelegramBadRequest(METHOD, "Bad Request: chat not found"),
            Failed(Failure.CHAT_NOT_FOUND, "Bad Request: chat not found"),
        ),
        (
            TelegramBadRequest(METHOD, "Bad Request: BUTTON_URL_INVALID"),
            Failed(Failure.REJECTED, "Bad Request: BUTTON_URL_INVALID"),
        ),
        (TelegramEntityTooLarge(METHOD, "too large"), Failed(Failure.REJECTED, "too large")),
    ],
)
def test_a_clear_answer_has_a_clear_verdict(error, expected):
    """429, 403, 400 and 413."""
    assert verdict(error) == expected


@pytest.mark.parametrize("error", [TelegramUnauthorizedError, TelegramNotFound])
def test_a_wrong_token_halts_the_lane(error):
    """401 and 404 are about the bot, not about the message."""
    assert isinstance(verdict(error(METHOD, "Unauthorized")), Halted)


@pytest.mark.parametrize(
    "cause",
    [
        connector(),
        connector(aiohttp.ClientConnectorDNSError),
        connector(aiohttp.ClientProxyConnectionError),
        aiohttp.ClientConnectorSSLError(None, ssl.SSLError(1, "handshake")),
        aiohttp.ConnectionTimeoutError("connect"),
    ],
)
def test_no_connection_means_nothing_was_sent(cause):
    """The only network errors that are safe to retry."""
    assert isinstance(verdict(network(cause)), Retry)


UNCLEAR = pytest.mark.parametrize(
    "error",
    [
        network(TimeoutError()),
        network(aiohttp.SocketTimeoutError("read")),
        network(aiohttp.ServerDisconnectedError()),
        network(aiohttp.ClientOSError(104, "reset")),
        network(aiohttp.ClientPayloadError()),
        network(None),
        TelegramServerError(METHOD, "Internal Server Error"),
        RestartingTelegram(METHOD, "restart"),
        ClientDecodeError("Failed to decode", ValueError("x"), "<html>"),
        TelegramConflictError(METHOD, "Conflict"),
        TelegramAPIError(METHOD, "?"),
        ValueError("a bug"),
    ],
)


@UNCLEAR
def test_whatever_may_have_been_sent_is_uncertain(error):
    """Once the request was written nobody can know, and the unknown counts as such."""
    assert isinstance(verdict(error), Uncertain)


@UNCLEAR
def test_an_edit_is_never_uncertain(error):
    """It can be repeated: one of its attempts is used up."""
    outcome = edit_verdict(error, 7)

    assert isinstance(outcome, Retry)
    assert (outcome.after, outcome.counted, outcome.cause) == (None, True, Cause.UNCERTAIN)


def test_an_edit_that_changes_nothing_is_done():
    """It was made before, by a bridge that did not hear the answer."""
    same = "Bad Request: message is not modified: specified new message content is the same"

    assert edit_verdict(TelegramBadRequest(METHOD, same), 7) == Sent(7)
    assert verdict(TelegramBadRequest(METHOD, same)) == Failed(Failure.REJECTED, same)


@pytest.mark.parametrize(
    "text",
    [
        "Bad Request: message to edit not found",
        "Bad Request: message can't be edited",
        "Bad Request: MESSAGE_ID_INVALID",
        "Bad Request: there is no text in the message to edit",
    ],
)
def test_what_cannot_be_edited_is_sent_anew(text):
    """The user deleted it, or it is too old: at once, and no attempt is used up."""
    outcome = edit_verdict(TelegramBadRequest(METHOD, text), 7)

    assert outcome == Retry(f"not edited: {text}", after=0.0, counted=False, cause=Cause.EDIT_LOST)


@pytest.mark.parametrize(
    "error",
    [
        TelegramRetryAfter(METHOD, "Flood", 7),
        TelegramForbiddenError(METHOD, "bot was blocked by the user"),
        TelegramBadRequest(METHOD, "Bad Request: chat not found"),
        TelegramUnauthorizedError(METHOD, "Unauthorized"),
        network(connector()),
    ],
)
def test_everything_else_is_as_of_a_new_message(error):
    """Nothing about it is special to edits."""
    assert edit_verdict(error, 7) == verdict(error)


def test_a_second_migration_is_a_rejection():
    """The courier follows one migration; a chain of them is not followed."""
    error = TelegramMigrateToChat(METHOD, "upgraded", -100)

    assert verdict(error).failure is Failure.REJECTED


def test_web_app_buttons_are_for_private_chats_only():
    """Telegram refuses them in groups: there the button is a link."""
    button = Button(text="Open", url="https://app.example/", kind="web_app")

    private = keyboard(button, private=True).inline_keyboard[0][0]
    group = keyboard(button, private=False).inline_keyboard[0][0]

    assert private.web_app.url == "https://app.example/"
    assert group.url == "https://app.example/"
    assert keyboard(None, private=True) is None
