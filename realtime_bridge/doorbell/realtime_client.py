"""The only module that reaches into realtime-py.

The library has no public way to tell that its reading or beating has ended, and its close() leaves
timers and pushes running; a connection that must be relied on needs both.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from realtime_bridge.credentials import claims_of
from realtime_bridge.doorbell.faults import Fault, Reason

TOPIC = "tma_bell"  # the channel that bridge.ring() broadcasts on


class RealtimeClient:
    """A realtime-py client with one channel, watched from outside and closed completely."""

    def __init__(
        self, url: str, key: str, api_key: str | None, *, private: bool, reply_timeout: float
    ) -> None:
        """Prepare a client that does not reconnect by itself; nothing is dialled yet.

        Only a JWT is an access token, and only a JWT can go behind an `api_key`. Without one the
        server goes by the apikey, which the hosted gateway has exchanged for a JWT if it was an
        sb_secret_ key.
        """
        is_jwt = claims_of(key) is not None
        self._client = AsyncRealtimeClient(
            f"{url.rstrip('/')}/realtime/v1",
            token=(api_key if is_jwt else None) or key,
            auto_reconnect=False,
            max_retries=1,
            timeout=reply_timeout,  # type: ignore[arg-type]  # seconds; floats do as well
        )
        self._client.access_token = key if is_jwt else None
        self.channel: AsyncRealtimeChannel = self._client.channel(
            TOPIC,
            {
                "config": {
                    "broadcast": {"ack": False, "self": False},
                    "presence": {"key": "", "enabled": False},
                    "private": private,
                }
            },
        )

    async def connect(self) -> None:
        """Open the websocket; raises what the library raises."""
        await self._client.connect()

    @property
    def socket(self) -> ClientConnection | None:
        """The websocket, while there is one."""
        return self._client._ws_connection  # noqa: SLF001 - see the module

    def fault(self) -> Fault | None:
        """Examine a joined client; None if it works."""
        socket = self.socket
        if not socket or socket.state is not State.OPEN:
            code = socket.close_code if socket else None
            return Fault(Reason.LOST, f"the connection is gone (close code {code})")
        for name, task in self._loops().items():
            if task and task.done():
                failure = None if task.cancelled() else task.exception()
                return Fault(Reason.STUCK, f"the library's {name} ended: {failure!r}")
        if not self.channel.is_joined:
            return Fault(Reason.CLOSED, f"the channel is {self.channel.state.value}")
        return None

    def when_a_loop_ends(self, call: Callable[[], None]) -> None:
        """Call this once the library stops reading or beating, for whatever reason."""
        for task in self._loops().values():
            if task:
                task.add_done_callback(lambda _: call())

    async def close(self, timeout: float) -> None:
        """Say goodbye, but hang up on a server that does not answer within `timeout` seconds."""
        socket, tasks = self.socket, self._tasks()
        self._client._ws_connection = None  # noqa: SLF001 - so that nothing is sent any more
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
            async with asyncio.timeout(timeout):
                if socket:
                    await socket.close()
        except (TimeoutError, ConnectionClosed):
            pass
        finally:
            if socket:
                socket.transport.abort()
        if socket:
            await socket.wait_closed()

    def _loops(self) -> dict[str, "asyncio.Task[None] | None"]:
        client = self._client
        return {"reading": client._listen_task, "heartbeat": client._heartbeat_task}  # noqa: SLF001

    def _tasks(self) -> list["asyncio.Task[Any]"]:
        channel = self.channel
        pushes = [channel.join_push, *channel.messages_waiting_for_ack.values()]
        return [
            task
            for task in (
                *self._loops().values(),
                channel.rejoin_timer.timer,
                *(push.timeout_task for push in pushes),
                *channel._background_tasks,  # noqa: SLF001 - see the module
            )
            if task
        ]
