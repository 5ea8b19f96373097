"""The Bot API double, called by the real aiogram."""

import time

import pytest
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramNotFound,
)
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup, WebAppInfo
from botapi_kit import CHAT, TOKEN, a_bot, sent


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
