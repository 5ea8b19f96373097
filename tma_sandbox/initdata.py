"""Telegram's signature on what a Mini App knows about its user."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, urlencode


def sign(fields: Mapping[str, str], bot_token: str) -> str:
    """The `initData` of a Mini App with these fields, signed as Telegram signs for this bot.

    `fields` are the decoded values, for example `user` (JSON) and `auth_date` (unix seconds).
    """
    check = "\n".join(f"{name}={value}" for name, value in sorted(fields.items()))
    secret = hmac.digest(b"WebAppData", bot_token.encode(), hashlib.sha256)
    digest = hmac.new(secret, check.encode(), hashlib.sha256).hexdigest()
    return urlencode([*fields.items(), ("hash", digest)], quote_via=quote)
