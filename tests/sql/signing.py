"""Telegram's side of a Mini App's identity, written from its documentation alone.

Independent of the SQL under test and of the package's own signer.
"""

import hashlib
import hmac
import json
import time
from urllib.parse import quote_plus

BOT = 7_000_000_001
TOKEN = f"{BOT}:AAtest-token-of-a-bot-that-does-not-exist"
USER = {
    "id": 99281932,
    "first_name": "Андрій «O'Neil» & Söhne + 🦊",
    "last_name": 'a=b&c "q" \\ %41 /',
    "username": "fox",
    "language_code": "uk",
    "allows_write_to_pm": True,
}


def web_app_key(token: str = TOKEN) -> str:
    """The key under which a bot is registered, in hex."""
    return hmac.new(b"WebAppData", token.encode(), hashlib.sha256).hexdigest()


def fields(user: object = USER, *, age: float = 0, **more: str) -> dict[str, str]:
    """The decoded fields of a Mini App opened `age` seconds ago."""
    return {
        "query_id": "AAHdF6IQAAAAAN0XohDhrOrc",
        "user": user if isinstance(user, str) else json.dumps(user, ensure_ascii=False),
        "auth_date": str(int(time.time() - age)),
        "signature": "6fbdaab833d39f54518bd5c3eb3f511d035e68cb-_A",
        **more,
    }


def signed(values: dict[str, str], token: str = TOKEN) -> dict[str, str]:
    """The fields with Telegram's hash of them."""
    text = "\n".join(f"{name}={values[name]}" for name in sorted(values))
    digest = hmac.new(bytes.fromhex(web_app_key(token)), text.encode(), hashlib.sha256)
    return values | {"hash": digest.hexdigest()}


def encoded(values: dict[str, str]) -> str:
    """The fields as they stand in the header."""
    return "&".join(f"{name}={quote_plus(value)}" for name, value in values.items())


def init_data(user: object = USER, *, age: float = 0, token: str = TOKEN, **more: str) -> str:
    """What `Telegram.WebApp.initData` holds for this user."""
    return encoded(signed(fields(user, age=age, **more), token))
