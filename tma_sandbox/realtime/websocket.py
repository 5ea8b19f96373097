"""One client's websocket and the channels it has joined."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from tma_sandbox.realtime.channel import Channel, JoinError
from tma_sandbox.realtime.frames import Codec, FrameError, Message
from tma_sandbox.realtime.services import Services

log = structlog.get_logger(__name__)

# A client that leaves this many frames unread is disconnected.
_MOST_WAITING = 50_000


class Socket:
    """Handles a client's messages one after another, as the real server does.

    So a join that is refused after a delay holds up everything sent after it. A frame that is not
    Phoenix is ignored: it gets no answer and closes nothing.
    """

    def __init__(
        self,
        services: Services,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        codec: Codec,
        *,
        token: str,
        headers: Mapping[str, str],
    ) -> None:
        self._services = services
        self._websocket = websocket
        self._transport = transport
        self._codec = codec
        self._token = token
        self._headers = headers
        self._channels: dict[str, Channel] = {}
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(_MOST_WAITING)

    async def run(self) -> None:
        """Serve until the client leaves or has been silent for too long."""
        writing = asyncio.create_task(self._write())
        try:
            await self._read()
        except TimeoutError:
            await self._websocket.close(code=WSCloseCode.OK)
        finally:
            for channel in self._channels.values():
                channel.close()
            writing.cancel()

    async def close(self) -> None:
        """Close the connection with the code for a server that goes away."""
        await self._websocket.close(code=WSCloseCode.GOING_AWAY)

    async def _read(self) -> None:
        while True:
            frame = await self._websocket.receive(timeout=self._services.delays.silence)
            if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            try:
                message = self._codec.decode(frame.data)
            except FrameError as error:
                log.info("realtime_frame_ignored", error=str(error))
            else:
                await self._receive(message)

    async def _write(self) -> None:
        with suppress(ConnectionError):
            while True:
                frame = await self._waiting.get()
                if isinstance(frame, str):
                    await self._websocket.send_str(frame)
                else:
                    await self._websocket.send_bytes(frame)

    def _push(self, message: Message) -> None:
        frame = self._codec.encode(message)
        if frame is None:
            return
        try:
            self._waiting.put_nowait(frame)
        except asyncio.QueueFull:
            log.warning("realtime_client_reads_nothing")
            self.abort()

    def abort(self) -> None:
        """Cut the connection without closing it."""
        if self._transport is not None:
            self._transport.abort()

    async def _receive(self, message: Message) -> None:
        match message:
            case Message(topic="phoenix", event="heartbeat"):
                self._push(message.reply("ok", {}))
            case Message(event="phx_join", topic=topic) if topic.startswith("realtime:"):
                await self._join(message)
            case Message(event="phx_leave"):
                self._leave(message)
            case _ if channel := self._channels.get(message.topic):
                await channel.receive(message)
            case _:
                self._push(message.reply("error", {"reason": "unmatched topic"}))

    async def _join(self, message: Message) -> None:
        """Join a topic; a second join of the same topic replaces the first.

        As on the real server, the first one's phx_close comes after the second one's reply, so a
        client may mistake it for the second one's.
        """
        former = self._channels.pop(message.topic, None)
        farewell = former.close() if former else None
        channel = Channel(
            self._services,
            message,
            socket_token=self._token,
            headers=self._headers,
            push=self._push,
            closed=self._closed,
        )
        try:
            reply = await channel.open()
        except JoinError as error:
            await asyncio.sleep(self._services.delays.join_error)
            self._push(message.reply("error", {"reason": str(error)}))
        else:
            self._channels[message.topic] = channel
            self._push(reply)
        if farewell:
            self._push(farewell)
        if message.topic in self._channels:
            channel.follow_up()

    def _leave(self, message: Message) -> None:
        channel = self._channels.get(message.topic)
        if channel and channel.join_ref not in (None, message.join_ref):
            return  # from an earlier join, which has been closed already
        self._push(message.reply("ok", {}))
        if channel:
            del self._channels[message.topic]
            self._push(channel.close())

    def _closed(self, channel: Channel) -> None:
        if self._channels.get(channel.topic) is channel:
            del self._channels[channel.topic]
