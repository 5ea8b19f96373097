"""A message on the wire: what goes out as JSON, what comes back cut down to what is kept.

aiogram's own way, a form and a whole Message, takes most of the time that a message costs here.
"""

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Annotated, Any

from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.exceptions import TelegramNetworkError
from aiogram.methods import EditMessageText, SendMessage
from aiogram.types import TelegramObject
from aiohttp import BytesPayload, ClientError, ClientRequest, ClientTimeout
from pydantic import Field
from yarl import URL

from realtime_bridge.base import read_body

if TYPE_CHECKING:
    from aiogram import Bot

# An idle connection is kept for so long. A message on one that Telegram's side has just closed is
# uncertain, and how long that keeps its own is nowhere written: so less than a minute.
KEEP_ALIVE_SECONDS = 55.0
# For opening a connection ahead: two round trips to the other side of the world are less.
OPEN_SECONDS = 2.0
ANSWER_LIMIT = 2**20  # bytes; what is asked for here is answered in a few hundred


class Receipt(TelegramObject):
    """The one part of Telegram's answer that the bridge keeps."""

    # As the database can keep it. 0 is a message that Telegram itself sends later.
    message_id: Annotated[int, Field(ge=0, lt=2**63)]


class Send(SendMessage):
    """sendMessage (https://core.telegram.org/bots/api#sendmessage), answered by a Receipt."""

    __returning__ = Receipt  # type: ignore[assignment]  # narrower than aiogram's Message


class Edit(EditMessageText):
    """editMessageText (https://core.telegram.org/bots/api#editmessagetext)."""

    __returning__ = Receipt | bool


class Session(AiohttpSession):
    """aiogram's session for a bot without defaults; it posts a Send or an Edit as JSON.

    https://core.telegram.org/bots/api#making-requests
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, **options: Any) -> None:
        """`options` are aiogram's."""
        super().__init__(**options)
        self._connector_init["keepalive_timeout"] = KEEP_ALIVE_SECONDS
        self._clock = clock
        self._used_at = -inf
        self._opening: asyncio.Task[None] | None = None

    @property
    def idle(self) -> float:
        """Seconds since the last call began or was answered, or a connection was opened ahead."""
        return self._clock() - self._used_at

    def open_ahead(self, bot: "Bot") -> None:
        """Open a connection for the next call, which waits until it is open."""
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(bot), name="open-ahead")

    async def _open(self, bot: "Bot") -> None:
        """Connect, and leave the connection to the pool."""
        timeout = ClientTimeout(connect=OPEN_SECONDS)
        try:
            connector = (await self.create_session()).connector
            url = URL(self.api.api_url(token=bot.token, method="getMe"))
            request = ClientRequest("GET", url, loop=asyncio.get_running_loop())
            if connector:
                (await connector.connect(request, [], timeout)).release()
                self._used_at = self._clock()
        except Exception:  # noqa: BLE001, S110 - the call that follows will say what is wrong
            pass

    async def make_request(self, bot: "Bot", method: Any, timeout: Any = None) -> Any:
        """Ask as aiogram does, but read no answer that never ends."""
        opening, self._opening = self._opening, None
        if opening:  # one call waits for it, and takes it
            await asyncio.wait([opening])
        self._used_at = self._clock()
        result = await self._ask(bot, method, timeout)
        self._used_at = self._clock()
        return result

    async def _ask(self, bot: "Bot", method: Any, timeout: Any) -> Any:
        session = await self.create_session()
        if not isinstance(timeout, ClientTimeout):  # aiogram's own calls give seconds
            timeout = ClientTimeout(total=timeout or self.timeout)
        try:
            async with session.post(
                self.api.api_url(token=bot.token, method=method.__api_method__),
                data=self.build_form_data(bot, method),
                timeout=timeout,
            ) as response:
                body, whole = await read_body(response, ANSWER_LIMIT)
        except TimeoutError as error:
            raise TelegramNetworkError(method, "Request timeout error") from error
        except ClientError as error:
            raise TelegramNetworkError(method, f"{type(error).__name__}: {error}") from error
        if not whole:
            raise TelegramNetworkError(method, "the answer is too long")
        text = body.decode(errors="replace")
        return self.check_response(bot, method, response.status, text).result

    def build_form_data(self, bot: "Bot", method: Any) -> Any:
        """Return the request's body, which aiogram hands to aiohttp as it is."""
        if not isinstance(method, Send | Edit):
            return super().build_form_data(bot, method)
        body = method.model_dump_json(exclude_unset=True, exclude_none=True)
        return BytesPayload(body.encode(), content_type="application/json")
