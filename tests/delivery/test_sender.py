"""One message over real HTTP, and each way in which that can go wrong."""

import asyncio
import socket
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

from realtime_bridge.base.stopwatch import Stopwatch
from realtime_bridge.database.rpc import Refused, Unavailable
from realtime_bridge.messages.renderer import Button, Message
from realtime_bridge.outcomes import Cause, Failed, Failure, Halted, Lost, Retry, Sent, Uncertain
from realtime_bridge.telegram.sender import Sender
from realtime_bridge.telegram.wire import Session
from tests.delivery.proxy import Trouble
from tests.integration.kit import until
from tests.unit.rows import event

CHAT, GROUP = 100, -500


HELLO = Message("<b>hello</b>", "hello")


@dataclass
class Saying:
    """Messages that are all the same."""

    message: Message

    def render(self, _event, *, now):
        return self.message


async def passes(_event):
    """The fence lets everything through."""
    return True


class Office:
    """Couriers to one address."""

    def __init__(self, url, token, session):
        self.url = url
        self.token = token
        self.session = session

    @asynccontextmanager
    async def courier(self, *, message=HELLO, start=passes, send_timeout=5.0, **more):
        """A courier with a bot of its own."""
        api = TelegramAPIServer.from_base(more.pop("url", self.url))
        session = self.session(api=api)
        session._connector_init.update(more.pop("connector", {}))
        try:
            yield Sender(
                Bot(self.token, session=session),
                Saying(message),
                start,
                **{"send_timeout": send_timeout, "start_limit": 10.0, **more},
            )
        finally:
            await (await session.create_session()).close()  # without aiogram's pause for TLS

    async def send(self, chat=CHAT, **more):
        """Send one message; the outcome."""
        of_the_row = {
            name: more.pop(name) for name in {"chat_id", "turn_in", "started"} & more.keys()
        }
        async with self.courier(**more) as courier:
            return await courier(event(telegram_id=chat, **of_the_row), Stopwatch())


@pytest_asyncio.fixture(loop_scope="session", params=[Session, AiohttpSession])
async def office(request, world, telegram):
    """By the sidecar's own session, and by the one of a bot that a bridge is embedded in."""
    return Office(telegram.url, world.stack.env()["BOT_TOKEN"], request.param)


def requests(telegram):
    return telegram.count("/sendMessage")


def bad_request(description, **more):
    return {"status": 400, "description": f"Bad Request: {description}", **more}


async def test_a_message_is_sent_once(world, telegram, office):
    """As HTML, with Telegram's id as the receipt."""
    outcome = await office.send()

    (sent,) = await world.sent()
    assert outcome == Sent(sent["message_id"])
    assert (sent["text"], sent["parse_mode"]) == ("hello", "HTML")
    assert requests(telegram) == 1


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (
            {"status": 429, "retry_after": 7},
            Retry(
                "Telegram: retry after 7 s", after=7.0, counted=False, cause=Cause.TELEGRAM_PAUSE
            ),
        ),
        (
            {"status": 429, "parameters": {"retry_after": 0}, "description": "Too Many Requests"},
            Retry(
                "Telegram: Too Many Requests", after=1.0, counted=False, cause=Cause.TELEGRAM_PAUSE
            ),
        ),
        (
            {"status": 403},
            Failed(Failure.BLOCKED, "Forbidden: bot was blocked by the user"),
        ),
        (
            {"status": 403, "description": "Forbidden: user is deactivated"},
            Failed(Failure.BLOCKED, "Forbidden: user is deactivated"),
        ),
        (
            bad_request("chat not found"),
            Failed(Failure.CHAT_NOT_FOUND, "Bad Request: chat not found"),
        ),
        (
            bad_request("message is too long"),
            Failed(Failure.REJECTED, "Bad Request: message is too long"),
        ),
        (
            {"status": 413, "description": "Request Entity Too Large"},
            Failed(Failure.REJECTED, "Request Entity Too Large"),
        ),
        (
            {"status": 502, "html": True},
            Uncertain("no clear answer from Telegram: ClientDecodeError"),
        ),
        (
            {"status": 500},
            Uncertain("no clear answer from Telegram: TelegramServerError"),
        ),
    ],
)
async def test_an_answer_decides(world, telegram, office, fault, outcome):
    """One request, one verdict; nothing is tried behind the back of the queue."""
    await world.fault(fault)

    assert await office.send() == outcome

    assert requests(telegram) == 1
    assert await world.sent() == []


@pytest.mark.parametrize("status", [401, 404])
async def test_a_token_that_telegram_does_not_know_halts(world, office, status):
    """It is about the bot, not about the message."""
    await world.fault({"status": status})

    outcome = await office.send()

    assert isinstance(outcome, Halted)
    assert "check BOT_TOKEN" in outcome.why


@pytest.mark.parametrize("when", ["before_accept", "after_accept"])
@pytest.mark.parametrize("kind", ["drop", "hang"])
async def test_no_answer_is_uncertain(world, telegram, office, kind, when):
    """Whether it was accepted nobody here can know, so nothing is sent again."""
    await world.fault({kind: when})

    outcome = await office.send(send_timeout=2.0)

    assert isinstance(outcome, Uncertain)
    assert requests(telegram) == 1
    assert len(await world.sent()) == (when == "after_accept")


async def test_a_connection_that_breaks_is_uncertain(world, telegram, office):
    """The request may have arrived."""
    telegram.trouble(Trouble.LOST_ANSWER)

    assert isinstance(await office.send(), Uncertain)

    assert len(await world.sent()) == 1


async def test_nobody_listening_means_nothing_was_sent(telegram, office):
    """Connection refused: safe to try again, and one of the attempts is used up."""
    await telegram.refuse()

    outcome = await office.send()

    assert outcome == Retry(
        "no connection to Telegram: ClientConnectorError", cause=Cause.NO_CONNECTION
    )


async def test_a_server_that_takes_no_connection_means_nothing_was_sent(office):
    """Its queue is full, so the handshake never ends: a timeout, but a safe one."""
    with closing(socket.socket()) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        crowd = [socket.socket() for _ in range(3)]
        try:
            for one in crowd:
                one.setblocking(False)
                one.connect_ex(address)

            outcome = await office.send(url=f"http://127.0.0.1:{address[1]}", send_timeout=2.0)
        finally:
            for one in crowd:
                one.close()

    assert isinstance(outcome, Retry)
    assert outcome.counted


class SilentNames(aiohttp.abc.AbstractResolver):
    """A name server that never answers."""

    async def resolve(self, *_arguments, **_options):
        await asyncio.Event().wait()

    async def close(self):
        pass


async def test_a_name_server_that_is_silent_means_nothing_was_sent(office):
    """Looking the name up is part of connecting."""
    outcome = await office.send(
        url="http://telegram.invalid", connector={"resolver": SilentNames()}, send_timeout=2.0
    )

    assert isinstance(outcome, Retry)


async def test_html_that_telegram_cannot_parse_goes_as_plain_text(world, telegram, office):
    """One refusal, one send without markup."""
    outcome = await office.send(message=Message("<b>unclosed", "unclosed"))

    (sent,) = await world.sent()
    assert outcome == Sent(sent["message_id"])
    assert (sent["text"], sent["parse_mode"]) == ("unclosed", None)
    assert requests(telegram) == 2


async def test_plain_text_that_is_refused_too_is_rejected(world, telegram, office):
    """There is no third form."""
    await world.fault(bad_request("can't parse entities: oh", times=2))

    outcome = await office.send()

    assert outcome == Failed(Failure.REJECTED, "Bad Request: can't parse entities: oh")
    assert requests(telegram) == 2


@pytest.mark.parametrize("refusal", ["BUTTON_URL_INVALID", "BUTTON_TYPE_INVALID"])
async def test_a_button_that_is_refused_does_not_cost_the_message(world, telegram, office, refusal):
    """The text is what matters: it goes without the button."""
    await world.fault(bad_request(refusal))
    button = Button(text="Open", url="https://app.example/", kind="web_app")

    outcome = await office.send(message=Message("<b>hello</b>", "hello", button))

    (sent,) = await world.sent()
    assert outcome == Sent(sent["message_id"])
    assert (sent["text"], sent["parse_mode"]) == ("hello", "HTML")
    assert sent["reply_markup"] is None
    assert requests(telegram) == 2


async def test_everything_that_has_a_way_out_may_come_together(world, telegram, office):
    """A migrated group, a bad button and bad HTML: four requests, one message."""
    await world.fault(
        bad_request("group chat was upgraded", parameters={"migrate_to_chat_id": -1007}),
        bad_request("inline keyboard button URL 'x' is invalid: Wrong HTTP URL"),
    )
    message = Message("<b>unclosed", "unclosed", Button(text="Open", url="https://app.example/"))

    outcome = await office.send(chat=GROUP, message=message)

    (sent,) = await world.sent()
    assert outcome == Sent(sent["message_id"], moved_to=-1007)
    assert (sent["chat_id"], sent["text"], sent["reply_markup"]) == (-1007, "unclosed", None)
    assert requests(telegram) == 4


async def test_a_group_that_became_a_supergroup_is_followed_and_told(world, telegram, office):
    """All replicas are to know its new id, whatever becomes of this message."""
    moved = bad_request("group chat was upgraded", parameters={"migrate_to_chat_id": -1007})
    await world.fault(moved)
    first = await office.send(chat=GROUP)
    await world.fault(moved, {"status": 403})
    second = await office.send(chat=GROUP)

    (sent,) = await world.sent()
    assert sent["chat_id"] == -1007
    assert first == Sent(sent["message_id"], moved_to=-1007)
    assert (second.failure, second.moved_to) == (Failure.BLOCKED, -1007)
    assert requests(telegram) == 4


async def test_a_message_goes_where_the_claim_says(world, telegram, office):
    """The group's new id is known: no refusal is needed to learn it."""
    outcome = await office.send(chat=GROUP, chat_id=-1007)

    (sent,) = await world.sent()
    assert sent["chat_id"] == -1007
    assert outcome == Sent(sent["message_id"])
    assert requests(telegram) == 1


async def test_a_supergroup_that_moves_on_is_not_followed_for_ever(world, telegram, office):
    """One migration is followed, a chain of them is a rejection."""
    await world.fault(bad_request("upgraded", parameters={"migrate_to_chat_id": -1007}, times=None))

    outcome = await office.send(chat=GROUP)

    assert outcome.failure is Failure.REJECTED
    assert requests(telegram) == 2


async def test_a_row_waits_for_its_turn(world, office):
    """Late is right, early is not."""
    begun = asyncio.get_running_loop().time()

    await office.send(turn_in=0.3)

    assert asyncio.get_running_loop().time() - begun >= 0.3


async def test_a_row_that_was_started_by_its_claim_passes_no_fence(telegram, office):
    """One call between the bell and the message."""

    async def must_not_be_asked(_event):
        raise AssertionError

    assert isinstance(await office.send(start=must_not_be_asked, started=True), Sent)


async def test_a_started_row_that_comes_too_late_is_not_sent(telegram, office):
    """The claim was asked for long ago: its lease would not outlast the send."""
    async with office.courier() as courier:
        outcome = await courier(event(started=True), Stopwatch(before=10.5))

    assert isinstance(outcome, Retry)
    assert not outcome.counted
    assert requests(telegram) == 0


async def test_a_message_that_cannot_be_rendered_is_known_not_to_be_sent(telegram, office):
    """A bug costs an attempt; nobody is left to wonder."""
    async with office.courier(message=None, start_limit=10.0) as courier:
        courier._messages = None
        outcome = await courier(event(started=True), Stopwatch())

    assert outcome == Retry("not sent, a bug: AttributeError", cause=Cause.BUG)
    assert requests(telegram) == 0


async def test_the_courier_knows_what_is_certainly_not_sent(telegram, office):
    """Until its call to Telegram begins, and never from then on."""
    row = event(started=True, turn_in=0.2)
    async with office.courier() as courier:
        with telegram.broken(Trouble.NO_ANSWER):
            sending = asyncio.create_task(courier(row, Stopwatch()))
            await asyncio.sleep(0)
            assert courier.unsent(row)
            await until(lambda: arrived(telegram))
            assert not courier.unsent(row)
            sending.cancel()
            await asyncio.wait([sending])


async def arrived(telegram):
    return requests(telegram)


async def test_a_row_that_the_fence_refuses_is_not_sent(telegram, office):
    """It is somebody else's."""

    async def refuses(_event):
        return False

    assert await office.send(start=refuses) == Lost()
    assert requests(telegram) == 0


@pytest.mark.parametrize("error", [Unavailable("HTTP 503"), Refused("no such function", "")])
async def test_a_fence_that_does_not_answer_means_nothing_was_sent(telegram, office, error):
    """The row is handed back, and no attempt is used up."""

    async def fails(_event):
        raise error

    outcome = await office.send(start=fails)

    assert isinstance(outcome, Retry)
    assert (outcome.after, outcome.counted) == (0.0, False)
    assert requests(telegram) == 0


async def test_a_fence_that_answers_too_late_means_nothing_is_sent(telegram, office):
    """The lease would not outlast the send: a frozen process must not send what others sent."""

    async def slow(_event):
        await asyncio.sleep(0.3)
        return True

    outcome = await office.send(start=slow, start_limit=0.2)

    assert isinstance(outcome, Retry)
    assert not outcome.counted
    assert requests(telegram) == 0
