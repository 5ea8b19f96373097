"""What Telegram is asked for: options, edits, and the ways out of a refusal."""

import json
from contextlib import asynccontextmanager

import pytest
from aiogram import Bot
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime_bridge.base.stopwatch import Stopwatch
from realtime_bridge.messages.message import Button, Message
from realtime_bridge.model import NO_OPTIONS, SendOptions
from realtime_bridge.outcomes import Cause, Failed, Failure, Retry, Sent
from realtime_bridge.telegram.sender import Sender
from realtime_bridge.telegram.wire import Session
from tests.unit.rows import event

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
BUTTON = Button("Open", "https://t.me/my_bot/app")
SENT = (200, {"ok": True, "result": {"message_id": 5}})

sessions = pytest.mark.parametrize("session", [Session, AiohttpSession])


def refusal(text, **parameters):
    return 400, {"ok": False, "error_code": 400, "description": text, "parameters": parameters}


class Saying:
    """Messages that are all the same."""

    def __init__(self, message):
        self._message = message

    def render(self, _event, *, now):
        return self._message


async def passes(_event):
    return True


class Telegram:
    """A server that answers as it is told to, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def answer(self, request):
        body = await request.post() or json.loads(await request.text())
        self.asked.append((request.path.rpartition("/")[2], dict(body)))
        status, answer = self.answers.pop(0)
        return web.json_response(answer, status=status)

    @property
    def methods(self):
        return [method for method, _ in self.asked]

    @asynccontextmanager
    async def sender(self, session, *, options=NO_OPTIONS, defaults=None, button=None):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        async with TestServer(app) as server:
            api = TelegramAPIServer.from_base(str(server.make_url("")).rstrip("/"))
            bot = Bot(TOKEN, session=session(api=api), default=defaults)
            message = Message("<b>hello</b>", "hello", button, options)
            try:
                yield Sender(bot, Saying(message), passes, send_timeout=5.0, start_limit=10.0)
            finally:
                await (await bot.session.create_session()).close()

    async def send(self, session, *, edits=None, chat=-500, **more):
        """Send one message, or edit one; the outcome."""
        async with self.sender(session, **more) as sender:
            return await sender(event(telegram_id=chat, edits=edits), Stopwatch())


def plain(value):
    """A form has texts only."""
    return str(value).lower()


@sessions
async def test_a_message_without_options_says_nothing_of_them(session):
    """As before there were any."""
    telegram = Telegram(SENT)

    await telegram.send(session)

    ((method, body),) = telegram.asked
    assert method == "sendMessage"
    assert set(body) == {"chat_id", "text", "parse_mode", "link_preview_options"}


@sessions
async def test_options_are_told_to_telegram(session):
    """Each in Telegram's own words."""
    telegram = Telegram(SENT)
    options = SendOptions(silent=True, thread=7, protect=True, preview=True)

    await telegram.send(session, options=options)

    ((_, body),) = telegram.asked
    assert plain(body["disable_notification"]) == "true"
    assert plain(body["message_thread_id"]) == "7"
    assert plain(body["protect_content"]) == "true"
    assert "link_preview_options" not in body


@pytest.mark.parametrize(("protect", "told"), [(None, "true"), (False, "false"), (True, "true")])
async def test_a_bot_of_somebody_elses_protects_what_its_owner_says(protect, told):
    """Unless a row says otherwise."""
    telegram = Telegram(SENT)
    defaults = DefaultBotProperties(protect_content=True)

    await telegram.send(AiohttpSession, options=SendOptions(protect=protect), defaults=defaults)

    ((_, body),) = telegram.asked
    assert plain(body["protect_content"]) == told


@sessions
@pytest.mark.parametrize(
    "text",
    ["message thread not found", "TOPIC_CLOSED", "TOPIC_DELETED"],
)
async def test_a_thread_that_is_gone_does_not_cost_the_message(session, text):
    """It goes once without; the other options stay."""
    telegram = Telegram(refusal(f"Bad Request: {text}"), SENT)

    outcome = await telegram.send(session, options=SendOptions(thread=7, silent=True))

    (_, first), (_, second) = telegram.asked
    assert outcome == Sent(5)
    assert ("message_thread_id" in first, "message_thread_id" in second) == (True, False)
    assert plain(second["disable_notification"]) == "true"


@sessions
async def test_a_thread_is_left_out_only_once(session):
    """A refusal that stays is one."""
    gone = refusal("Bad Request: message thread not found")
    telegram = Telegram(gone, gone)

    outcome = await telegram.send(session, options=SendOptions(thread=7))

    assert outcome.failure is Failure.REJECTED
    assert len(telegram.asked) == 2


@sessions
async def test_a_group_that_moved_without_its_topics_gets_the_message(session):
    """The two ways out come together."""
    telegram = Telegram(
        refusal("Bad Request: group chat was upgraded", migrate_to_chat_id=-1007),
        refusal("Bad Request: message thread not found"),
        SENT,
    )

    outcome = await telegram.send(session, options=SendOptions(thread=7))

    assert outcome == Sent(5, moved_to=-1007)
    assert [int(body["chat_id"]) for _, body in telegram.asked] == [-500, -1007, -1007]


@sessions
async def test_a_message_is_edited_in_place(session):
    """With the text and the button of the new one, and the id of the old one."""
    telegram = Telegram(SENT)
    options = SendOptions(silent=True, thread=7, protect=True)

    outcome = await telegram.send(session, edits=9, options=options, button=BUTTON)

    ((method, body),) = telegram.asked
    assert outcome == Sent(9)
    assert method == "editMessageText"
    assert (plain(body["message_id"]), body["text"]) == ("9", "<b>hello</b>")
    assert set(body) == {
        "chat_id",
        "message_id",
        "text",
        "parse_mode",
        "link_preview_options",
        "reply_markup",
    }


@sessions
@pytest.mark.parametrize(
    "answer",
    [
        (200, {"ok": True, "result": True}),
        refusal("Bad Request: message is not modified: specified new message content"),
    ],
)
async def test_an_edit_that_telegram_has_is_done(session, answer):
    """Whatever it says of it."""
    assert await Telegram(answer).send(session, edits=9) == Sent(9)


@sessions
async def test_a_message_that_is_gone_is_sent_anew(session):
    """By the next claim; Telegram answers, so nothing is in doubt."""
    telegram = Telegram(refusal("Bad Request: message to edit not found"))
    async with telegram.sender(session) as sender:
        outcome = await sender(event(edits=9), Stopwatch())

        assert not sender.in_doubt
    assert outcome.cause is Cause.EDIT_LOST
    assert telegram.methods == ["editMessageText"]


@sessions
@pytest.mark.parametrize(
    "answer", [(502, "<html>"), (500, {"ok": False}), (200, {"ok": True, "result": {}})]
)
async def test_an_edit_without_a_clear_answer_is_tried_again(session, answer):
    """And Telegram must first answer something harmless, as after a message."""
    async with Telegram(answer).sender(session) as sender:
        outcome = await sender(event(edits=9), Stopwatch())

        assert sender.in_doubt
    assert isinstance(outcome, Retry)
    assert outcome.counted


@sessions
async def test_an_edit_has_the_ways_out_of_a_message(session):
    """Bad HTML and a bad button."""
    telegram = Telegram(
        refusal("Bad Request: can't parse entities"),
        refusal("Bad Request: BUTTON_URL_INVALID"),
        SENT,
    )

    outcome = await telegram.send(session, edits=9, button=BUTTON)

    _, last = telegram.asked[-1]
    assert outcome == Sent(9)
    assert telegram.methods == ["editMessageText"] * 3
    assert (last["text"], "reply_markup" in last, "parse_mode" in last) == ("hello", False, False)


@sessions
async def test_a_chat_that_is_gone_fails_an_edit(session):
    """There is nobody to tell it anew."""
    gone = "Bad Request: chat not found"

    assert await Telegram(refusal(gone)).send(session, edits=9) == Failed(
        Failure.CHAT_NOT_FOUND, gone
    )
