"""`editMessageText`: one message that changes, with Telegram's answers."""

import asyncio

import pytest
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
)
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup
from botapi_kit import CHAT, TOKEN, a_bot, script, sent

NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are "
    "exactly the same as a current content and reply markup of the message"
)
NOT_FOUND = "Bad Request: message to edit not found"
TOO_OLD = "Bad Request: message can't be edited"
HOURS_48 = 48 * 3600


def keyboard(text="Open"):
    """An inline keyboard of one button."""
    button = InlineKeyboardButton(text=text, url="https://app.example")
    return InlineKeyboardMarkup(inline_keyboard=[[button]])


async def age(http, **by):
    """Make messages older; return how many."""
    async with http.post("/_age", json=by) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["aged"]


async def test_an_edited_message_keeps_its_place_and_its_history(bot, http):
    """It is one message: the newest text, and before it what it was."""
    first = await bot.send_message(CHAT, "<b>one</b>", parse_mode="HTML", reply_markup=keyboard())
    await bot.send_message(CHAT, "another")
    await bot.edit_message_text("two", chat_id=CHAT, message_id=first.message_id)

    edited = await bot.edit_message_text(
        "<i>three</i>", chat_id=CHAT, message_id=first.message_id, parse_mode="HTML"
    )

    assert (edited.text, edited.message_id) == ("three", first.message_id)
    assert [entity.type for entity in edited.entities] == ["italic"]
    assert edited.date == first.date
    assert edited.edit_date
    kept, _ = await sent(http)
    assert (kept["number"], kept["text"], kept["raw"]) == (1, "three", "<i>three</i>")
    assert kept["reply_markup"] is None
    one, two = kept["history"]
    assert (one["text"], two["text"]) == ("one", "two")
    assert one["reply_markup"]
    assert one["at"] == kept["received_at"] <= two["at"] <= kept["edited_at"]


async def test_a_message_that_was_never_edited_has_no_history(bot, http):
    """And its Message has no edit_date."""
    message = await bot.send_message(CHAT, "a")

    [kept] = await sent(http)
    assert (kept["history"], kept["edited_at"], message.edit_date) == ([], None, None)


@pytest.mark.parametrize("same", [{}, {"parse_mode": "HTML", "text": "a"}, {"text": " a\n"}])
async def test_the_same_content_is_not_modified(bot, http, same):
    """What the user reads is compared, not how it was written."""
    message = await bot.send_message(CHAT, "a", reply_markup=keyboard())

    with pytest.raises(TelegramBadRequest) as caught:
        await bot.edit_message_text(
            **{"text": "a", "chat_id": CHAT, "message_id": message.message_id, **same},
            reply_markup=keyboard(),
        )

    assert caught.value.message == NOT_MODIFIED
    [kept] = await sent(http)
    assert (kept["history"], kept["edited_at"]) == ([], None)


@pytest.mark.parametrize("markup", [None, keyboard("Close")])
async def test_other_buttons_are_a_change(bot, http, markup):
    """The same text with other buttons, or without them."""
    message = await bot.send_message(CHAT, "a", reply_markup=keyboard())

    await bot.edit_message_text(
        "a", chat_id=CHAT, message_id=message.message_id, reply_markup=markup
    )

    [kept] = await sent(http)
    assert kept["reply_markup"] == (markup and markup.model_dump(exclude_none=True))


async def test_what_is_not_there_is_not_found(url, bot, http):
    """Another id, another chat, another bot's message, and one that the list has forgotten."""
    message = await bot.send_message(CHAT, "a")
    places = [(CHAT, message.message_id + 1), (CHAT + 1, message.message_id)]
    said = []

    async def edit(by, chat, message_id):
        with pytest.raises(TelegramBadRequest) as caught:
            await by.edit_message_text("b", chat_id=chat, message_id=message_id)
        said.append(caught.value.message)

    for place in places:
        await edit(bot, *place)
    async with a_bot(url, "42:" + "x" * 35) as other:
        await edit(other, CHAT, message.message_id)
    async with http.delete("/_sent"):
        pass
    await edit(bot, CHAT, message.message_id)

    assert said == [NOT_FOUND] * 4


async def test_a_message_older_than_48_hours_cannot_be_edited(bot, http):
    """Counted from when it was sent, however often it was edited since."""
    old = (await bot.send_message(CHAT, "a")).message_id
    young = (await bot.send_message(CHAT, "b")).message_id
    assert await age(http, seconds=HOURS_48 - 60) == 2
    await bot.edit_message_text("a2", chat_id=CHAT, message_id=old)
    assert await age(http, seconds=120, message_id=old) == 1
    assert await age(http, seconds=120, chat_id=CHAT + 1) == 0

    with pytest.raises(TelegramBadRequest) as caught:
        await bot.edit_message_text("a3", chat_id=CHAT, message_id=old)
    await bot.edit_message_text("b2", chat_id=CHAT, message_id=young)

    assert caught.value.message == TOO_OLD
    assert [message["text"] for message in await sent(http)] == ["a2", "b2"]


@pytest.mark.parametrize("body", [b"", b"7", b"{}", b'{"seconds": "x"}', b'{"seconds": 1, "a": 1}'])
async def test_an_ageing_that_cannot_be_meant_is_refused(http, body):
    """400 with the reason."""
    async with http.post("/_age", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]


@pytest.mark.parametrize(
    ("fields", "description"),
    [
        (
            {"text": "<b>"},
            "can't parse entities: Can't find end tag corresponding to start tag \"b\"",
        ),
        ({"text": " "}, "message text is empty"),
        ({"text": "x" * 4097}, "message is too long"),
        ({"chat_id": "x"}, "chat not found"),
        ({"message_id": None}, "message identifier is not specified"),
        ({"message_id": "one"}, "message identifier is not specified"),
        ({"reply_markup": {"keyboard": [["a"]]}}, "inline keyboard expected"),
        ({"link_preview_options": []}, "object expected as link preview options"),
    ],
)
async def test_a_bad_edit_is_refused_like_a_bad_message(bot, http, fields, description):
    """The same parser, in Telegram's words; the message stays as it was."""
    message = await bot.send_message(CHAT, "a")
    body = {"chat_id": CHAT, "message_id": message.message_id, "text": "b", "parse_mode": "HTML"}

    async with http.post(f"/bot{TOKEN}/editMessageText", json=body | fields) as answer:
        said = await answer.json()

    assert said == {"ok": False, "error_code": 400, "description": f"Bad Request: {description}"}
    assert [kept["text"] for kept in await sent(http)] == ["a"]


async def test_edits_count_against_the_limits(bot, http):
    """Of the chat and of the bot, together with messages."""
    async with http.post("/_limits", json={"chat_burst": 3}):
        pass
    message = await bot.send_message(CHAT, "0")
    for text in ("1", "2"):
        await bot.edit_message_text(text, chat_id=CHAT, message_id=message.message_id)

    with pytest.raises(TelegramRetryAfter) as caught:
        await bot.edit_message_text("3", chat_id=CHAT, message_id=message.message_id)
    with pytest.raises(TelegramRetryAfter):
        await bot.send_message(CHAT, "b")

    assert caught.value.retry_after == 1
    [kept] = await sent(http)
    assert kept["text"] == "2"


async def test_edits_count_against_the_bots_limit(bot, http):
    """Spread over chats."""
    ids = [(await bot.send_message(chat, "a")).message_id for chat in (1, 2)]
    async with http.post("/_limits", json={"bot_per_second": 1}):
        pass

    await bot.edit_message_text("b", chat_id=1, message_id=ids[0])

    with pytest.raises(TelegramRetryAfter):
        await bot.edit_message_text("b", chat_id=2, message_id=ids[1])


async def test_an_edit_can_be_disturbed_like_a_message(bot, http):
    """By its method's name; a lost answer has edited, so that the same again is not modified."""
    message = await bot.send_message(CHAT, "a")
    await script(
        http,
        {"status": 400, "description": NOT_FOUND, "method": "editMessageText"},
        {"drop": "after_accept", "method": "editMessageText", "match": {"text": "b"}},
    )

    async def edit():
        await bot.edit_message_text("b", chat_id=CHAT, message_id=message.message_id)

    with pytest.raises(TelegramBadRequest, match="not found"):
        await edit()
    with pytest.raises(TelegramNetworkError):
        await edit()
    with pytest.raises(TelegramBadRequest, match="not modified"):
        await edit()

    assert [kept["text"] for kept in await sent(http)] == ["b"]


async def test_edits_can_be_followed(bot, http):
    """`changed_after` waits for the next message or edit; `after` for messages only."""
    message = await bot.send_message(CHAT, "a")
    await bot.send_message(CHAT, "b")
    following = asyncio.create_task(http.get("/_sent", params={"changed_after": 2, "wait": 5}))

    await bot.edit_message_text("c", chat_id=CHAT, message_id=message.message_id)
    answer = await following

    assert [(kept["text"], kept["change"]) for kept in await answer.json()] == [("c", 3)]
    async with http.get("/_sent", params={"after": 2}) as answer:
        assert await answer.json() == []


async def test_other_edits_are_not_there(bot):
    """What is not implemented says so, instead of seeming to work."""
    with pytest.raises(TelegramNotFound):
        await bot.edit_message_caption(chat_id=CHAT, message_id=1, caption="a")
