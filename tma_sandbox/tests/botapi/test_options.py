"""How a message is sent: quietly, into a topic, protected, with a preview or without."""

import pytest
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import LinkPreviewOptions
from botapi_kit import CHAT, TOKEN, sent

FORUM = -1001234567890


async def topics(http, chat_id, *threads):
    """Set the topics of a chat."""
    async with http.post("/_topics", json={"chat_id": chat_id, "threads": threads}) as answer:
        assert answer.status == 200, await answer.text()


async def call(http, **fields):
    """Call sendMessage with exactly these fields; Telegram's answer."""
    body = {"chat_id": CHAT, "text": "a", **fields}
    async with http.post(f"/bot{TOKEN}/sendMessage", json=body) as answer:
        return await answer.json()


async def test_options_are_kept_with_the_message(bot, http):
    """All of them in the list, and in the Message where Telegram tells the bot about them."""
    await topics(http, FORUM, 2, 7)

    message = await bot.send_message(
        FORUM,
        "a",
        disable_notification=True,
        protect_content=True,
        message_thread_id=7,
        link_preview_options=LinkPreviewOptions(is_disabled=True),
    )

    [kept] = await sent(http)
    assert kept["disable_notification"] is kept["protect_content"] is True
    assert kept["message_thread_id"] == message.message_thread_id == 7
    assert kept["link_preview_options"]["is_disabled"] is True
    assert message.has_protected_content
    assert message.is_topic_message


async def test_without_options_a_message_is_plain(bot, http):
    """With sound, in no topic, and free to be forwarded."""
    message = await bot.send_message(CHAT, "a")

    [kept] = await sent(http)
    assert kept["disable_notification"] is kept["protect_content"] is False
    assert kept["message_thread_id"] is message.message_thread_id is None
    assert message.has_protected_content is None


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (True, True),
        ("True", True),
        ("yes", True),
        (1, True),
        (False, False),
        ("on", False),
        (2, False),
        (None, False),
        ({}, False),
    ],
)
async def test_flags_are_read_as_telegram_reads_them(http, given, read):
    """true, yes and 1 in any case; anything else is false, and never an error."""
    assert (await call(http, disable_notification=given, protect_content=given))["ok"]

    [kept] = await sent(http)
    assert (kept["disable_notification"], kept["protect_content"]) == (read, read)


@pytest.mark.parametrize("chat", [CHAT, FORUM])
async def test_a_thread_that_the_chat_does_not_have_is_not_found(bot, http, chat):
    """Whether it has no topics or others; nothing is sent."""
    await topics(http, FORUM, 2)

    with pytest.raises(TelegramBadRequest) as caught:
        await bot.send_message(chat, "a", message_thread_id=7)

    assert caught.value.message == "Bad Request: message thread not found"
    assert await sent(http) == []


async def test_a_topic_can_be_deleted(bot, http):
    """By setting the others, or by clearing all."""
    await topics(http, FORUM, 2, 7)
    await topics(http, FORUM, 7)
    async with http.get("/_topics") as answer:
        assert await answer.json() == [{"chat_id": FORUM, "threads": [7]}]
    with pytest.raises(TelegramBadRequest):
        await bot.send_message(FORUM, "a", message_thread_id=2)

    async with http.delete("/_topics"):
        pass

    with pytest.raises(TelegramBadRequest):
        await bot.send_message(FORUM, "a", message_thread_id=7)


@pytest.mark.parametrize("thread", ["", "x", "0", -3, 1.5, None, [], 2**31, "٣"])
async def test_what_cannot_be_a_thread_is_ignored(http, thread):
    """As Telegram does: the message goes to the chat itself."""
    assert (await call(http, message_thread_id=thread))["ok"]

    [kept] = await sent(http)
    assert kept["message_thread_id"] is None


@pytest.mark.parametrize(
    ("options", "description"),
    [
        ("abc", "can't parse link preview options JSON object"),
        ("[" * 100_000, "can't parse link preview options JSON object"),
        ("[]", "object expected as link preview options"),
        (7, "object expected as link preview options"),
        ({"is_disabled": "yes"}, 'field "is_disabled" must be of type Boolean'),
        ('{"show_above_text": 1}', 'field "show_above_text" must be of type Boolean'),
        ({"url": 7}, 'field "url" must be of type String'),
    ],
)
async def test_bad_preview_options_are_refused(http, options, description):
    """In Telegram's words."""
    answer = await call(http, link_preview_options=options)

    assert answer == {"ok": False, "error_code": 400, "description": f"Bad Request: {description}"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"chat_id": 1}',
        b'{"chat_id": 1, "threads": [0]}',
        b'{"chat_id": 1, "threads": ["x"]}',
        b'{"chat_id": 1, "threads": [], "topic": 1}',
    ],
)
async def test_topics_that_cannot_be_meant_are_refused(http, body):
    """400 with the reason, and nothing is set."""
    async with http.post("/_topics", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]
    async with http.get("/_topics") as answer:
        assert await answer.json() == []
