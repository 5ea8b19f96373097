"""The signed initData that Telegram gives a Mini App."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, urlencode


def sign(fields: Mapping[str, str], bot_token: str) -> str:
    """Return the initData with these fields, signed as Telegram signs it for this bot.

    `fields` are unencoded values, for example `user` (JSON) and `auth_date` (unix seconds).
    """
    check = "\n".join(f"{name}={value}" for name, value in sorted(fields.items()))
    secret = hmac.digest(b"WebAppData", bot_token.encode(), hashlib.sha256)
    digest = hmac.new(secret, check.encode(), hashlib.sha256).hexdigest()
    return urlencode([*fields.items(), ("hash", digest)], quote_via=quote)
