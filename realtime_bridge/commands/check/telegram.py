"""Whether Telegram answers and knows the bot."""

import re
import time
from http import HTTPStatus

import aiohttp

from realtime_bridge.base import decode, read_body
from realtime_bridge.commands.check.finding import Finding, failed, ok
from realtime_bridge.commands.check.fixes import Fixes

NAME = "telegram"
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_USERNAME = re.compile(r"\w{1,64}", re.ASCII)
_LIMIT = 2**16  # bytes
_UNKNOWN_BOT = (HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND)


async def telegram_finding(api_url: str, token: str, fixes: Fixes) -> Finding:
    """Ask getMe. Without aiogram, whose import takes longer than everything else here."""
    begun = time.perf_counter()
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(f"{api_url}/bot{token}/getMe") as response,
        ):
            status, (body, _) = response.status, await read_body(response, _LIMIT)
    except (aiohttp.ClientError, TimeoutError) as error:
        text = f"{api_url} does not answer: {type(error).__name__}"
        return failed(NAME, text, fixes.telegram())
    took = (time.perf_counter() - begun) * 1000
    if status in _UNKNOWN_BOT:
        return failed(NAME, f"Telegram does not know BOT_TOKEN (HTTP {status})", fixes.bot_token())
    name = _username(body.decode(errors="replace")) if status == HTTPStatus.OK else None
    if name is None:
        text = f"{api_url} answers HTTP {status}, but not as the Bot API does"
        return failed(NAME, text, fixes.telegram())
    return ok(NAME, f"@{name}", took)


def _username(body: str) -> str | None:
    match decode(body):
        case {"result": {"username": str(name)}} if _USERNAME.fullmatch(name):
            return name
        case _:
            return None
