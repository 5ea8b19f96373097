"""Faults, limits, the list of messages, and signed initData."""

import asyncio
import time

import pytest
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.utils.web_app import safe_parse_webapp_init_data
from botapi_kit import CHAT, TOKEN, script, sent


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
