"""The HTTP handlers of the Bot API: answers as Telegram does, and keeps accepted messages."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tma_sandbox.botapi.answers import Answer, bot_object, error, message_object, ok
from tma_sandbox.botapi.faults import Fault, Script
from tma_sandbox.botapi.message import RefusedError, draft, edit
from tma_sandbox.botapi.rate_limiter import RateLimiter, Rates
from tma_sandbox.botapi.sent import Ageing, SentMessages
from tma_sandbox.botapi.topics import Topics
from tma_sandbox.initdata import sign

_TOKEN = re.compile(r"(\d+):[\w-]{30,}")
_LONGEST_WAIT = 50.0
_EDITABLE_SECONDS = 48 * 3600.0
_NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are "
    "exactly the same as a current content and reply markup of the message"
)
_HARMLESS = ("set", "delete", "answer", "close", "logout", "sendchataction")
_PAGE = (
    "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n"
    "<center><h1>{status}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class BotApi:
    """A Bot API server for any number of bots; every well-formed token is a bot.

    Besides Telegram's paths it serves `/_sent`, `/_age`, `/_topics`, `/_faults`, `/_limits` and
    `/_sign` (see `routes`). `bot_token` is the default of `/_sign`; `rates` enforces Telegram's
    limits from the start.
    """

    def __init__(
        self,
        *,
        bot_token: str | None = None,
        rates: Rates | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sent = SentMessages()
        self.script = Script()
        self.topics = Topics()
        self.limits = RateLimiter(rates) if rates else None
        self._bot_token = bot_token
        self._clock = clock
        self._released = asyncio.Event()

    # Routes

    def routes(self) -> list[web.RouteDef]:
        """Telegram's path and our own.

        - `GET /_sent[?after=N][&wait=SECONDS]` lists accepted messages, oldest first. Each has a
          `number`; `after` skips those up to N, `wait` waits for the next. An edited message keeps
          its number and has a `history`; `changed_after=N` instead lists those sent or edited after
          `change` N. `DELETE` clears them.
        - `POST /_age` makes messages older by `{"seconds": N}`, all or those of a `chat_id` or
          `message_id`: Telegram lets no message be edited that is older than 48 hours.
        - `POST /_topics` sets the topics of a chat, `{"chat_id": C, "threads": [2, 7]}`; no chat
          has any at first. `GET` lists them, `DELETE` clears them.
        - `POST /_faults` scripts answers (see Fault), `GET` lists the pending ones, `DELETE`
          clears them and drops hanging requests.
        - `POST /_limits` enforces Telegram's limits (an object of Rates, may be empty), `GET`
          shows them and how many messages they refused, `DELETE` lifts them.
        - `POST /_sign` makes a Mini App's initData for `{"user": {"id": ...}}`.

        The origin guard keeps web pages of other origins out.
        """
        return [
            web.route("*", "/bot{token}/{method}", self._bot_method),
            web.get("/_sent", self._list_sent),
            web.delete("/_sent", self._forget_sent),
            web.post("/_age", self._age),
            web.get("/_topics", self._list_topics),
            web.post("/_topics", self._set_topics),
            web.delete("/_topics", self._drop_topics),
            web.get("/_faults", self._list_faults),
            web.post("/_faults", self._add_faults),
            web.delete("/_faults", self._drop_faults),
            web.get("/_limits", self._show_limits),
            web.post("/_limits", self._set_limits),
            web.delete("/_limits", self._drop_limits),
            web.post("/_sign", self._sign),
        ]

    async def close(self, _: web.Application | None = None) -> None:
        """End all hanging and waiting requests."""
        self._released.set()
        await self.sent.close()

    # Telegram's methods

    async def _bot_method(self, request: web.Request) -> web.StreamResponse:
        received_at = self._clock()
        token = _TOKEN.fullmatch(request.match_info["token"])
        if token is None:
            return _json_response(error(404, "Not Found"))
        try:
            fields = await _fields(request)
        except ValueError:
            return _json_response(error(400, "Bad Request: can't parse the request body"))
        call = _Call(int(token[1]), request.match_info["method"].lower(), fields, received_at)
        text = str(fields.get("text", ""))
        if fault := self.script.take(call.method, call.bot_id, fields.get("chat_id"), text):
            return await self._misbehave(fault, call, request)
        return _json_response(await self._answer(call))

    async def _misbehave(
        self, fault: Fault, call: "_Call", request: web.Request
    ) -> web.StreamResponse:
        if fault.latency:
            await asyncio.sleep(fault.latency)
        if fault.status and fault.html:
            page = _PAGE.format(status=f"{fault.status} Bad Gateway")
            return web.Response(status=fault.status, text=page, content_type="text/html")
        if fault.status:
            return _json_response(fault.body())
        if not (fault.hang or fault.drop):
            return _json_response(await self._answer(call))
        if fault.stores:
            await self._answer(call)
        if fault.hang:
            await self._released.wait()
        if request.transport:
            request.transport.abort()
        return web.Response(status=500)  # the connection is gone: nobody reads it

    async def _answer(self, call: "_Call") -> Answer:
        """Do the call, and answer as Telegram does."""
        match call.method:
            case "sendmessage":
                return await self._send_message(call)
            case "editmessagetext":
                return await self._edit_message(call)
            case "getme":
                return ok(bot_object(call.bot_id))
            case "getupdates":
                await self._wait_for_updates(call.fields)
                return ok([])
            case "getwebhookinfo":
                return ok({"url": "", "has_custom_certificate": False, "pending_update_count": 0})
            case "getmycommands":
                return ok([])
            case name if name.startswith(_HARMLESS):
                return ok(True)
            case _:
                return error(404, "Not Found: method not found")

    async def _send_message(self, call: "_Call") -> Answer:
        try:
            message = draft(call.fields)
        except RefusedError as refused:
            return error(400, str(refused))
        if message.message_thread_id and not self.topics.has(
            message.chat_id, message.message_thread_id
        ):
            return error(400, "Bad Request: message thread not found")
        if refusal := self._too_fast(call, message.chat_id):
            return refusal
        return ok(message_object(await self.sent.add(call.bot_id, message, call.received_at)))

    async def _edit_message(self, call: "_Call") -> Answer:
        try:
            message_id, content = edit(call.fields)
        except RefusedError as refused:
            return error(400, str(refused))
        message = self.sent.find(call.bot_id, content.chat_id, message_id)
        if message is None:
            return error(400, "Bad Request: message to edit not found")
        if call.received_at - message["received_at"] > _EDITABLE_SECONDS:
            return error(400, "Bad Request: message can't be edited")
        if refusal := self._too_fast(call, content.chat_id):
            return refusal
        if not await self.sent.edit(message, content, call.received_at):
            return error(400, _NOT_MODIFIED)
        return ok(message_object(message))

    def _too_fast(self, call: "_Call", chat_id: int) -> Answer | None:
        """The refusal of a call that exceeds the limits; an edit counts like a message."""
        seconds = self.limits and self.limits.retry_after(call.bot_id, chat_id)
        if not seconds:
            return None
        return error(429, f"Too Many Requests: retry after {seconds}") | {
            "parameters": {"retry_after": seconds}
        }

    async def _wait_for_updates(self, fields: Mapping[str, Any]) -> None:
        """A long poll that never gets an update."""
        try:
            seconds = min(float(fields.get("timeout") or 0), _LONGEST_WAIT)
            async with asyncio.timeout(seconds):
                await self._released.wait()
        except (TimeoutError, ValueError):
            pass

    # Our own paths

    async def _list_sent(self, request: web.Request) -> web.Response:
        try:
            after = int(request.query.get("after", 0))
            change = request.query.get("changed_after")
            changed_after = None if change is None else int(change)
            wait = min(float(request.query.get("wait", 0)), _LONGEST_WAIT)
        except ValueError:
            return _bad_request("after and changed_after are numbers, wait is seconds")
        if changed_after is not None:
            if wait:
                await self.sent.wait_for_change(changed_after + 1, wait)
            return _json_response(self.sent.changed_after(changed_after))
        if wait:
            await self.sent.wait_for(after + 1, wait)
        return _json_response(self.sent.after(after))

    async def _forget_sent(self, _: web.Request) -> web.Response:
        self.sent.clear()
        return _json_response(ok(True))

    async def _age(self, request: web.Request) -> web.Response:
        try:
            aged = self.sent.age(Ageing.model_validate(await request.json()))
        except ValueError as wrong:
            return _bad_request(str(wrong))
        return _json_response({"aged": aged})

    async def _list_topics(self, _: web.Request) -> web.Response:
        return _json_response(self.topics.dump())

    async def _set_topics(self, request: web.Request) -> web.Response:
        try:
            self.topics.set(await request.json())
        except ValueError as wrong:
            return _bad_request(str(wrong))
        return _json_response(self.topics.dump())

    async def _drop_topics(self, _: web.Request) -> web.Response:
        self.topics.clear()
        return _json_response([])

    async def _list_faults(self, _: web.Request) -> web.Response:
        return _json_response(self.script.dump())

    async def _add_faults(self, request: web.Request) -> web.Response:
        try:
            self.script.add(await request.json())
        except ValueError as wrong:
            return _bad_request(str(wrong))
        return _json_response(self.script.dump())

    async def _drop_faults(self, _: web.Request) -> web.Response:
        self.script.waiting.clear()
        self._released.set()
        self._released = asyncio.Event()
        return _json_response([])

    async def _show_limits(self, _: web.Request) -> web.Response:
        if self.limits is None:
            return _json_response({"enabled": False, "refused": 0})
        rates = self.limits.rates
        return _json_response(
            {
                "enabled": True,
                "refused": self.limits.refused,
                "bot_per_second": rates.bot_per_second,
                "chat_per_second": rates.chat_per_second,
                "chat_burst": rates.chat_burst,
                "group_per_minute": rates.group_per_minute,
            }
        )

    async def _set_limits(self, request: web.Request) -> web.Response:
        try:
            values = await request.json() if request.can_read_body else {}
            self.limits = RateLimiter(Rates.read(values))
        except (ValueError, AttributeError) as wrong:
            return _bad_request(str(wrong))
        return await self._show_limits(request)

    async def _drop_limits(self, request: web.Request) -> web.Response:
        self.limits = None
        return await self._show_limits(request)

    async def _sign(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            token = wanted.pop("bot_token", None) or self._bot_token
            user = wanted.pop("user")
            if not isinstance(user, dict) or "id" not in user:
                return _bad_request("user needs an id")
        except (ValueError, AttributeError, KeyError, TypeError):
            return _bad_request('send {"user": {"id": 1, ...}, "auth_date": seconds, ...}')
        if token is None:
            return _bad_request("bot_token is missing")
        fields = {
            "user": json.dumps(user, ensure_ascii=False, separators=(",", ":")),
            "auth_date": str(wanted.pop("auth_date", int(self._clock()))),
            **{name: str(value) for name, value in wanted.items()},
        }
        return _json_response({"init_data": sign(fields, token)})


@dataclass(frozen=True, slots=True)
class _Call:
    """One request to the Bot API; `method` is in lower case, because Telegram ignores case."""

    bot_id: int
    method: str
    fields: Mapping[str, Any]
    received_at: float


async def _fields(request: web.Request) -> dict[str, Any]:
    """The parameters of a call, from everywhere that Telegram accepts them. Raises ValueError."""
    fields: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        body = await request.json()
        if not isinstance(body, dict):
            raise ValueError("not an object")
        return fields | body
    return fields | dict(await request.post())


def _json_response(value: Any) -> web.Response:
    status = value.get("error_code", 200) if isinstance(value, dict) else 200
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return web.Response(status=status, text=text, content_type="application/json")


def _bad_request(text: str) -> web.Response:
    return web.json_response({"error": text}, status=400)
