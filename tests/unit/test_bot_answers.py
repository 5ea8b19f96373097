"""Whatever stands in Telegram's place may answer what it likes: a message has one outcome."""

import json
from contextlib import asynccontextmanager

import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime_bridge.base.stopwatch import Stopwatch
from realtime_bridge.credentials.redaction import Redactor
from realtime_bridge.messages.renderer import Message
from realtime_bridge.outcomes import Cause, Failed, Failure, Halted, Retry, Sent, Uncertain
from realtime_bridge.telegram.sender import Sender
from realtime_bridge.telegram.verdict import LONGEST_PAUSE
from realtime_bridge.telegram.wire import Session
from tests.unit.rows import event

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
DEEP = "[" * 20_000 + "]" * 20_000


class Saying:
    """Messages that are all the same."""

    def render(self, _event, *, now):
        return Message("<b>hello</b>", "hello")


async def passes(_event):
    return True


@asynccontextmanager
async def courier(reply, session, asked=None):
    """A courier to a server that replies to every request with `reply(request)`."""

    async def handle(request):
        if asked is not None:
            asked.append(await request.post() or json.loads(await request.text()))
        return await reply(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        api = TelegramAPIServer.from_base(str(server.make_url("")).rstrip("/"))
        bot = Bot(TOKEN, session=session(api=api))
        try:
            yield Sender(
                bot,
                Saying(),
                passes,
                send_timeout=5.0,
                start_limit=10.0,
                redact=Redactor([TOKEN]),
            )
        finally:
            await (await bot.session.create_session()).close()


async def send(session, status, body, asked=None):
    """Send one message to a server that answers with this."""
    raw = body if isinstance(body, bytes) else body.encode()

    async def reply(_):
        return web.Response(status=status, body=raw)

    async with courier(reply, session, asked) as carry:
        return await carry(event(telegram_id=-500), Stopwatch())


sessions = pytest.mark.parametrize("session", [Session, AiohttpSession])


def refusal(**fields):
    return json.dumps({"ok": False, "error_code": 400, **fields})


@sessions
@pytest.mark.parametrize(
    "result",
    [
        "{}",
        "7",
        "null",
        '{"message_id": -1}',
        '{"message_id": 9223372036854775808}',
        '{"message_id": 1e30}',
        '{"message_id": "x"}',
        f'{{"message_id": {"9" * 4_000}}}',
        f'{{"message_id": {"9" * 5_000}}}',
        '{"message_id": 1, "x": ' + DEEP + "}",
        "<html>",
    ],
)
async def test_a_receipt_that_cannot_be_kept_is_uncertain(session, result):
    """It may have been sent; the row ends, and its outcome can be written."""
    outcome = await send(session, 200, f'{{"ok": true, "result": {result}}}')

    assert isinstance(outcome, Uncertain)


@sessions
@pytest.mark.parametrize("body", ["", "<html>", "7", "[]", "{}", DEEP, b"\xff\xfe", "9" * 5_000])
@pytest.mark.parametrize("status", [200, 403, 502])
async def test_an_answer_of_any_kind_is_an_outcome(session, status, body):
    """None of them raises: nothing would be settled then."""
    outcome = await send(session, status, body)

    assert isinstance(outcome, Uncertain)


@sessions
@pytest.mark.parametrize(
    ("status", "fields", "kind"),
    [
        (400, {}, Failed),
        (403, {"description": None}, Failed),
        (401, {}, Halted),
        (404, {}, Halted),
        (413, {"description": ""}, Failed),
        (500, {}, Uncertain),
        (409, {"parameters": {}}, Uncertain),
        (429, {"parameters": {"retry_after": None}}, Uncertain),
    ],
)
async def test_a_refusal_without_a_reason_is_one(session, status, fields, kind):
    """The status says enough."""
    outcome = await send(session, status, refusal(**fields))

    assert isinstance(outcome, kind)


@sessions
@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7),
        ('"7"', 7),
        ("-5", 1),
        ("1" + "0" * 30, LONGEST_PAUSE),
        ("9" * 4_000, LONGEST_PAUSE),
        ("99999999", LONGEST_PAUSE),
    ],
)
async def test_a_pause_has_bounds(session, asked, seconds):
    """A day at most: then it is told again, or it was nonsense."""
    body = f'{{"ok": false, "description": "Flood", "parameters": {{"retry_after": {asked}}}}}'

    outcome = await send(session, 429, body)

    assert outcome == Retry(
        f"Telegram: retry after {seconds:g} s", seconds, counted=False, cause=Cause.TELEGRAM_PAUSE
    )
    assert isinstance(outcome.after, float)  # or it is no pause


@sessions
@pytest.mark.parametrize("chat", ["7", "-9" + "0" * 30, "1" + "0" * 30, "9" * 4_000, "0"])
async def test_a_group_moves_to_no_other_kind_of_chat(session, chat):
    """Above all to nobody's private chat."""
    asked = []
    body = f'{{"ok": false, "description": "x", "parameters": {{"migrate_to_chat_id": {chat}}}}}'

    outcome = await send(session, 400, body, asked)

    assert isinstance(outcome, Failed)
    assert outcome.failure is Failure.REJECTED
    assert [int(one["chat_id"]) for one in asked] == [-500]


async def test_an_answer_that_never_ends_is_uncertain():
    """It is not read to its end, which there is none of."""
    sent = 0

    async def reply(request):
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b" " * 65_536)
            sent += 65_536
        return response

    async with courier(reply, Session) as carry:
        outcome = await carry(event(), Stopwatch())

    assert isinstance(outcome, Uncertain)
    assert sent < 2**26


@sessions
async def test_links_are_not_unfolded(session):
    """A name may be an address, of whatever."""
    asked = []

    await send(session, 200, '{"ok": true, "result": {"message_id": 1}}', asked)

    preview = asked[0]["link_preview_options"]
    assert (json.loads(preview) if isinstance(preview, str) else preview) == {"is_disabled": True}


@sessions
@pytest.mark.parametrize("at", range(11, len(TOKEN), 5))
@pytest.mark.parametrize("status", [400, 401, 403, 429])
async def test_a_token_in_an_answer_is_in_no_outcome(session, status, at):
    """Echoed with the path, and cut somewhere."""
    said = f"Too Many Requests or not: /bot{TOKEN[:at]}"

    outcome = await send(session, status, refusal(description=said))

    text = getattr(outcome, "error", None) or outcome.why
    assert TOKEN[10:18] not in text


async def test_a_good_answer_is_a_receipt():
    """For comparison."""
    assert await send(Session, 200, '{"ok": true, "result": {"message_id": 0}}') == Sent(0)
