"""What Telegram gives a Mini App, made with the bot's token."""

import hashlib
import hmac
import json
from urllib.parse import quote, urlencode

from realtime_bridge.credentials import web_app_key


def init_data(bot_token: str, user_id: int, at: int) -> str:
    """Sign that a user opened the bot's Mini App at this time (seconds since 1970).

    https://core.telegram.org/bots/webapps#validating-data-received-via-the-mini-app
    """
    user = json.dumps({"id": user_id, "first_name": "check"})
    fields = {"auth_date": str(at), "user": user}
    text = "\n".join(f"{name}={value}" for name, value in sorted(fields.items()))
    key = bytes.fromhex(web_app_key(bot_token))
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return urlencode({**fields, "hash": signature}, quote_via=quote)
