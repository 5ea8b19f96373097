"""No connection is opened between the bell and the message."""

import asyncio
from contextlib import asynccontextmanager, closing, suppress

import aiohttp.connector
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramNetworkError
from aiogram.methods import GetMe

from realtime_bridge.credentials.tokens import Key
from realtime_bridge.database.rpc import Rpc
from realtime_bridge.telegram.warmth import Warmth
from realtime_bridge.telegram.wire import Send, Session

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
SENT = b'{"ok":true,"result":{"message_id":7}}'


class Server:
    """Answers every request with the same; counts connections, and lists what was asked."""

    def __init__(self, body):
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        self.connections = 0
        self.asked = []
        self.accepted = asyncio.Event()

    @asynccontextmanager
    async def listening(self):
        """Serve while the context lasts; return the address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        self.accepted.set()
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
                self.asked.append(lines[0].split()[1].rpartition("/")[2])
                lengths = [line for line in lines if line.lower().startswith("content-length:")]
                await reader.readexactly(int(lengths[0].partition(":")[2]) if lengths else 0)
                writer.write(self._answer)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The clock of the bridge's session and of aiohttp's pools."""
    clock = Clock()
    monkeypatch.setattr(aiohttp.connector, "monotonic", clock)
    return clock


@asynccontextmanager
async def bot_at(url, **session):
    """A bot whose API is there."""
    kind = session.pop("kind", Session)
    bot = Bot(TOKEN, session=kind(api=TelegramAPIServer.from_base(url), **session))
    try:
        yield bot
    finally:
        await (await bot.session.create_session()).close()


async def send(bot):
    return await bot(Send(chat_id=1, text="hello"))


async def test_the_message_takes_the_connection_opened_at_the_bell(clock):
    """Nothing else is asked on it, and no second one is opened, even if it is not open yet."""
    server = Server(SENT)
    async with server.listening() as url, bot_at(url, clock=clock) as bot:
        Warmth(bot).expect()
        receipt = await send(bot)

    assert receipt.message_id == 7
    assert server.connections == 1
    assert server.asked == ["sendMessage"]


async def test_it_is_open_before_the_message_comes(clock):
    """That is what it is for."""
    server = Server(SENT)
    async with server.listening() as url, bot_at(url, clock=clock) as bot:
        Warmth(bot).expect()
        await server.accepted.wait()

        assert server.asked == []
        await send(bot)

    assert server.connections == 1


async def test_many_bells_open_one_connection(clock):
    """A burst rings many times."""
    server = Server(SENT)
    async with server.listening() as url, bot_at(url, clock=clock) as bot:
        warmth = Warmth(bot)
        for _ in range(10):
            warmth.expect()
        await send(bot)
        for _ in range(10):
            warmth.expect()
        await send(bot)

    assert server.connections == 1


async def test_a_connection_that_idled_too_long_is_replaced_at_the_bell(clock):
    """Before the message needs it, and not while the old one still does."""
    server = Server(SENT)
    async with server.listening() as url, bot_at(url, clock=clock) as bot:
        warmth = Warmth(bot)
        await send(bot)
        clock.now += 54
        warmth.expect()
        await send(bot)
        assert server.connections == 1

        clock.now += 56
        server.accepted.clear()
        warmth.expect()
        await server.accepted.wait()
        await send(bot)

    assert server.connections == 2
    assert server.asked == ["sendMessage"] * 3


async def test_only_one_call_waits_for_it(clock):
    """The others open their own at once: one connection carries one message at a time."""
    server, opened = Server(SENT), asyncio.Event()
    async with server.listening() as url, bot_at(url, clock=clock) as bot:
        bot.session._opening = asyncio.create_task(opened.wait())
        waiting = asyncio.create_task(send(bot))
        await asyncio.sleep(0)
        await send(bot)

        assert not waiting.done()
        opened.set()
        await waiting


async def test_a_bell_does_not_prolong_an_idle_connection(clock):
    """A bell without a message, such as another replica's, says nothing to Telegram's side."""
    server = Server(SENT)
    async with server.listening() as url, bot_at(url, clock=clock) as bot:
        await send(bot)
        for _ in range(2):
            clock.now += 50
            Warmth(bot).expect()
            for _ in range(5):
                await asyncio.sleep(0)
        await send(bot)

    assert server.connections == 2


async def test_a_line_that_cannot_be_opened_is_for_the_message_to_report(clock, caplog):
    """With its own error, and nothing is left behind."""
    server = Server(SENT)
    async with server.listening() as url:
        pass
    async with bot_at(url, clock=clock) as bot:
        Warmth(bot).expect()
        with pytest.raises(TelegramNetworkError, match="ClientConnectorError"):
            await send(bot)

    assert caplog.records == []


async def test_somebody_elses_bot_is_left_alone(clock):
    """Its connections are its owner's business."""
    server = Server(b'{"ok":true,"result":{"id":1,"is_bot":true,"first_name":"x"}}')
    async with server.listening() as url, bot_at(url, kind=AiohttpSession) as bot:
        Warmth(bot).expect()
        await bot(GetMe())

    assert server.connections == 1
    assert server.asked == ["getMe"]


@pytest.mark.parametrize(("idle", "connections"), [(54, 1), (56, 2)])
async def test_telegrams_line_is_kept_for_less_than_a_minute(clock, idle, connections):
    """A message on a connection that the other side has just closed is uncertain."""
    server = Server(SENT)
    async with server.listening() as url, bot_at(url, clock=clock) as bot:
        await send(bot)
        clock.now += idle
        await send(bot)

    assert server.connections == connections


@pytest.mark.parametrize(("idle", "connections"), [(179, 1), (181, 2)])
async def test_the_databases_line_outlasts_the_pauses_between_sweeps(clock, idle, connections):
    """And is dropped before the network forgets it without a word."""
    server = Server(b"[]")
    async with (
        server.listening() as url,
        Rpc(url, lambda: Key("sb_secret_x", "sb_secret_x")) as rpc,
    ):
        await rpc.call("f")
        clock.now += idle
        await rpc.call("f")

    assert server.connections == connections
