"""The Bot API double, called by the real aiogram."""

import asyncio
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup, WebAppInfo
from aiogram.utils.web_app import safe_parse_webapp_init_data
from aiohttp.test_utils import TestServer

from tma_sandbox.botapi import BotApi, create_app

TOKEN = "4200000001:AAlocal-local-local-local-local-local"
CHAT = 700_100_200


@pytest.fixture
async def url():
    """The address of a Bot API of its own."""
    async with TestServer(create_app(BotApi(bot_token=TOKEN))) as server:
        yield str(server.make_url("/")).rstrip("/")


@pytest.fixture
async def http(url):
    """An HTTP client for our own paths."""
    async with aiohttp.ClientSession(url) as session:
        yield session


@asynccontextmanager
async def a_bot(url: str, token: str = TOKEN):
    """An aiogram bot that talks to this server."""
    session = AiohttpSession(api=TelegramAPIServer.from_base(url), timeout=5)
    yield Bot(token, session=session)
    if session._session:  # its own close() waits a quarter of a second for TLS, for each test
        await session._session.close()


@pytest.fixture
async def bot(url):
    """An aiogram bot with the token of these tests."""
    async with a_bot(url) as bot:
        yield bot


async def sent(http) -> list[dict]:
    """The accepted messages, oldest first."""
    async with http.get("/_sent") as answer:
        return await answer.json()


async def script(http, *faults: dict) -> None:
    """Script the next answers."""
    async with http.post("/_faults", json=list(faults)) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_message_is_kept_as_the_user_reads_it(bot, http):
    """The text without markup, the raw text, and when it arrived."""
    before = time.time()
    message = await bot.send_message(CHAT, "  <b>Ann &amp; Bob</b> 🚀\n", parse_mode="HTML")
    [kept] = await sent(http)

    assert message.text == kept["text"] == "Ann & Bob 🚀"
    assert [entity.type for entity in message.entities] == ["bold"]
    assert (kept["chat_id"], kept["message_id"]) == (CHAT, message.message_id)
    assert kept["raw"] == "  <b>Ann &amp; Bob</b> 🚀\n"
    assert kept["entities"] == [{"type": "bold", "offset": 0, "length": 9}]
    assert (kept["parse_mode"], kept["bot_id"]) == ("HTML", bot.id)
    assert before <= kept["received_at"] <= time.time()


async def test_message_ids_grow_per_bot(url, bot, http):
    """Each bot has its own ids; the numbers of /_sent count all messages."""
    async with a_bot(url, "42:" + "x" * 35) as other:
        ids = [(await b.send_message(CHAT, "a")).message_id for b in (bot, bot, other)]

    assert ids == [1, 2, 1]
    assert [message["number"] for message in await sent(http)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("chat_id", "kind"), [(CHAT, "private"), (-100500, "supergroup"), (-42, "group")]
)
async def test_the_kind_of_chat_follows_from_its_id(bot, chat_id, kind):
    """The Message of every kind of chat can be parsed by aiogram."""
    message = await bot.send_message(chat_id, "a")

    assert (message.chat.id, message.chat.type) == (chat_id, kind)


async def test_buttons_are_kept(bot, http):
    """An inline keyboard arrives with the message."""
    button = InlineKeyboardButton(text="Open", web_app=WebAppInfo(url="https://app.example/lead"))
    markup = InlineKeyboardMarkup(inline_keyboard=[[button]])

    message = await bot.send_message(CHAT, "a", reply_markup=markup)

    assert message.reply_markup.model_dump() == markup.model_dump()
    [kept] = await sent(http)
    assert kept["reply_markup"]["inline_keyboard"][0][0]["text"] == "Open"


@pytest.mark.parametrize(
    ("chat_id", "arguments", "description"),
    [
        (CHAT, {"text": ""}, "message text is empty"),
        (CHAT, {"text": " \n "}, "message text is empty"),
        (CHAT, {"text": "<b> </b>", "parse_mode": "HTML"}, "message text is empty"),
        (CHAT, {"text": "😀" * 2049}, "message is too long"),
        (
            CHAT,
            {"text": "<Smith>", "parse_mode": "HTML"},
            'can\'t parse entities: Unsupported start tag "smith" at byte offset 0',
        ),
        (0, {"text": "a"}, "chat not found"),
        ("@nobody", {"text": "a"}, "chat not found"),
        (
            CHAT,
            {"text": "a", "button": {"web_app": WebAppInfo(url="http://x.y")}},
            (
                "inline keyboard button Web App URL 'http://x.y' is invalid: "
                "Only HTTPS links are allowed"
            ),
        ),
        (
            -42,
            {"text": "a", "button": {"web_app": WebAppInfo(url="https://x.y")}},
            "BUTTON_TYPE_INVALID",
        ),
        (
            CHAT,
            {"text": "a", "button": {"url": "no link"}},
            "inline keyboard button URL 'no link' is invalid: Wrong HTTP URL",
        ),
        (
            CHAT,
            {"text": "a", "button": {"url": "http://localhost:3000"}},
            "inline keyboard button URL 'http://localhost:3000' is invalid: Wrong HTTP URL",
        ),
        (
            CHAT,
            {"text": "a", "button": {}},
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
    ],
)
async def test_bad_messages_are_refused_in_telegrams_words(
    bot, http, chat_id, arguments, description
):
    """What Telegram refuses is refused here, with the same text."""
    button = arguments.pop("button", None)
    if button is not None:
        row = [InlineKeyboardButton(text="t", **button)]
        arguments["reply_markup"] = InlineKeyboardMarkup(inline_keyboard=[row])

    with pytest.raises(TelegramBadRequest) as caught:
        await bot.send_message(chat_id, **arguments)

    assert caught.value.message == f"Bad Request: {description}"
    assert await sent(http) == []


async def test_markup_does_not_count_towards_the_longest_text(bot):
    """4096 UTF-16 units are counted after parsing."""
    message = await bot.send_message(CHAT, f"<b>{'😀' * 2048}</b>", parse_mode="HTML")

    assert len(message.text) == 2048


async def test_what_a_polling_bot_calls_is_answered(bot):
    """A bot that runs the bridge itself can start polling."""
    me = await bot.get_me()
    assert (me.id, me.is_bot) == (4200000001, True)
    assert await bot.delete_webhook()
    assert await bot.get_updates(timeout=0) == []
    assert (await bot.get_webhook_info()).url == ""
    assert await bot.set_my_commands([])
    with pytest.raises(TelegramNotFound, match="method not found"):
        await bot.get_chat_administrators(CHAT)


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"chat_id": CHAT, "text": "a"}},
        {"data": {"chat_id": CHAT, "text": "a"}},
        {"params": {"chat_id": CHAT, "text": "a"}},
    ],
    ids=["json", "form", "query"],
)
async def test_every_way_of_calling_works(http, body):
    """As JSON, form or query, with the method name in any case."""
    async with http.post(f"/bot{TOKEN}/sendmessage", **body) as answer:
        assert (await answer.json())["result"]["text"] == "a"


async def test_a_token_that_cannot_be_one_is_not_found(http):
    """404, as from Telegram."""
    async with http.get("/botnonsense/getMe") as answer:
        assert answer.status == 404
        assert await answer.json() == {"ok": False, "error_code": 404, "description": "Not Found"}


@pytest.mark.parametrize(
    ("fault", "exception", "text"),
    [
        ({"status": 429, "retry_after": 7}, TelegramRetryAfter, "Too Many Requests: retry after 7"),
        ({"status": 403}, TelegramForbiddenError, "Forbidden: bot was blocked by the user"),
        (
            {"status": 403, "description": "Forbidden: user is deactivated"},
            TelegramForbiddenError,
            "deactivated",
        ),
        (
            {"status": 400, "description": "Bad Request: chat not found"},
            TelegramBadRequest,
            "chat not found",
        ),
        (
            {"status": 400, "parameters": {"migrate_to_chat_id": -100}},
            TelegramMigrateToChat,
            "-100",
        ),
        ({"status": 401}, TelegramUnauthorizedError, "Unauthorized"),
        ({"status": 500}, TelegramServerError, "Internal Server Error"),
        ({"status": 502, "html": True}, ClientDecodeError, "nginx"),
        ({"drop": "before_accept"}, TelegramNetworkError, "disconnected"),
    ],
)
async def test_a_fault_is_what_aiogram_makes_of_it(bot, http, fault, exception, text):
    """One scripted answer, no message stored, and the next call succeeds."""
    await script(http, fault)

    with pytest.raises(exception, match=text) as caught:
        await bot.send_message(CHAT, "a")
    await bot.send_message(CHAT, "b")

    assert [message["text"] for message in await sent(http)] == ["b"]
    if exception is TelegramRetryAfter:
        assert caught.value.retry_after == 7


async def test_a_drop_after_accepting_has_sent_the_message(bot, http):
    """The caller gets no answer, but the user has the message."""
    await script(http, {"drop": "after_accept"})

    with pytest.raises(TelegramNetworkError):
        await bot.send_message(CHAT, "a")

    assert [message["text"] for message in await sent(http)] == ["a"]


@pytest.mark.parametrize(("when", "stored"), [("after_accept", 1), ("before_accept", 0)])
async def test_a_hang_lasts_until_the_faults_are_deleted(bot, http, when, stored):
    """The caller waits until the faults are deleted; an accepted message is there already."""
    await script(http, {"hang": when})
    sending = asyncio.create_task(bot.send_message(CHAT, "a"))
    async with asyncio.timeout(5):
        while (await (await http.get("/_faults")).json()) != []:
            await asyncio.sleep(0)

    kept = await sent(http)
    waiting = not sending.done()
    async with http.delete("/_faults"):
        pass

    assert waiting
    assert len(kept) == stored
    with pytest.raises(TelegramNetworkError):
        await sending


async def test_latency_delays_the_answer_only(bot, http):
    """The message is accepted, with the time at which it arrived."""
    await script(http, {"latency": 0.1})

    await bot.send_message(CHAT, "a")
    answered = time.time()
    await bot.send_message(CHAT, "b")

    slow, quick = await sent(http)
    assert slow["received_at"] + 0.1 <= answered <= quick["received_at"]


async def test_faults_wait_for_their_request(bot, http):
    """Faults match by chat, text and method, and apply a given number of times."""
    await script(
        http,
        {"status": 403, "match": {"chat_id": 5}, "times": 2},
        {"status": 400, "match": {"text": "bad"}},
        {"status": 401, "method": "getMe", "times": None},
    )

    outcomes = []
    for chat, text in ((1, "a"), (5, "a"), (1, "so bad"), (5, "a"), (5, "a")):
        try:
            outcomes.append((await bot.send_message(chat, text)).text)
        except (TelegramForbiddenError, TelegramBadRequest) as error:
            outcomes.append(type(error))
    for _ in range(2):
        with pytest.raises(TelegramUnauthorizedError):
            await bot.get_me()

    assert outcomes == [
        "a",
        TelegramForbiddenError,
        TelegramBadRequest,
        TelegramForbiddenError,
        "a",
    ]


@pytest.mark.parametrize(
    "fault", [{}, {"status": 400, "drop": "after_accept"}, {"statsu": 400}, {"status": "x"}]
)
async def test_a_fault_that_cannot_be_meant_is_refused(http, fault):
    """A typo in a test is an error instead of a fault that never happens."""
    async with http.post("/_faults", json=[fault]) as answer:
        assert answer.status == 400
    async with http.get("/_faults") as answer:
        assert await answer.json() == []


async def test_limits_are_enforced_when_switched_on(bot, http):
    """Off at first, then Telegram's, with a count of refused messages, then off again."""
    for _ in range(5):
        await bot.send_message(CHAT, "a")
    async with http.post("/_limits", json={"chat_burst": 1}) as answer:
        assert (await answer.json())["bot_per_second"] == 30

    await bot.send_message(CHAT, "a")
    with pytest.raises(TelegramRetryAfter) as caught:
        await bot.send_message(CHAT, "a")
    async with http.delete("/_limits"):
        pass
    await bot.send_message(CHAT, "a")

    assert caught.value.retry_after == 1
    assert len(await sent(http)) == 7


async def test_the_list_of_messages_can_be_followed(bot, http):
    """`after` skips known messages, `wait` waits for the next one."""
    await bot.send_message(CHAT, "a")
    following = asyncio.create_task(http.get("/_sent", params={"after": 1, "wait": 5}))

    await bot.send_message(CHAT, "b")
    answer = await following

    assert [message["text"] for message in await answer.json()] == ["b"]


async def test_forgetting_messages_keeps_their_numbers_growing(bot, http):
    """A message id is never reused."""
    await bot.send_message(CHAT, "a")
    async with http.delete("/_sent"):
        pass

    await bot.send_message(CHAT, "b")

    assert [(m["message_id"], m["text"]) for m in await sent(http)] == [(2, "b")]


@pytest.mark.parametrize("name", ["Ann", "Олена 'Ole' \"+&=%<>", "😀 \\ / é"])
async def test_signed_init_data_convinces_aiogram(http, name):
    """`/_sign` returns what Telegram gives a Mini App."""
    user = {"id": CHAT, "first_name": name, "language_code": "uk"}
    wanted = {"user": user, "auth_date": 1_700_000_000, "start_param": "lead_7"}
    async with http.post("/_sign", json=wanted) as answer:
        init_data = (await answer.json())["init_data"]

    parsed = safe_parse_webapp_init_data(TOKEN, init_data)

    assert (parsed.user.id, parsed.user.first_name) == (CHAT, name)
    assert parsed.auth_date.timestamp() == 1_700_000_000
    assert parsed.start_param == "lead_7"


async def test_another_bots_signature_can_be_had(http):
    """For tests with a forged header."""
    other = "42:" + "x" * 35
    async with http.post(
        "/_sign", json={"user": {"id": 1, "first_name": "M"}, "bot_token": other}
    ) as answer:
        init_data = (await answer.json())["init_data"]

    assert safe_parse_webapp_init_data(other, init_data).user.id == 1
    with pytest.raises(ValueError, match="Invalid"):
        safe_parse_webapp_init_data(TOKEN, init_data)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"user": {}}', b'{"user": 1}'])
async def test_a_sign_request_that_lacks_something_says_what(http, body):
    """400 with a hint, not 500."""
    async with http.post("/_sign", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]
