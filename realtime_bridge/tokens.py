"""Keys: what they say of themselves, and those that are made from other secrets."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

ROLE = "tma_bridge"
SECRET = "SUPABASE_JWT_SECRET"  # noqa: S105 - the name of the setting, not its value
_SHORTEST = 32
_WHERE = (
    f"{SECRET} is not set: the project's JWT secret, from the dashboard (Project Settings > JWT "
    "Keys) or `npx supabase status`"
)


def claims_of(key: str) -> dict[str, Any] | None:
    """The claims of a key that is a JWT, unverified; None for any other kind of key.

    >>> claims_of("eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2ln")
    {'role': 'anon'}
    """
    try:
        _, body, _ = key.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def secret_of(values: Mapping[str, str | None]) -> str:
    """Find the project's JWT secret among settings, or in the file they name. Raises ValueError."""
    if secret := (values.get(SECRET) or "").strip():
        return secret
    path = values.get(f"{SECRET}_FILE")
    if not path:
        raise ValueError(_WHERE)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{SECRET}_FILE cannot be read: {path} ({error.strerror})") from None


def mint(secret: str, *, now: datetime, lifetime: timedelta) -> str:
    """Sign a JWT of the role `tma_bridge` with the project's JWT secret (HS256).

    Raises ValueError for what cannot be a project's secret: one shorter than 32 characters, or an
    API key.
    """
    if secret.startswith(("sb_", "eyJ")):
        raise ValueError(f"{SECRET} is an API key; the JWT secret signs those and is none itself")
    if len(secret) < _SHORTEST:
        raise ValueError(f"{SECRET} is shorter than {_SHORTEST} characters")
    # Here, because it imports cryptography: nine megabytes that a running bridge does not need.
    import jwt

    claims = {"iss": "realtime-bridge", "role": ROLE, "iat": now, "exp": now + lifetime}
    return jwt.encode(claims, secret, algorithm="HS256")


def web_app_key(bot_token: str) -> str:
    """Derive, as hex, the key under which Telegram signs what Mini Apps know of their user.

    https://core.telegram.org/bots/webapps#validating-data-received-via-the-mini-app
    """
    return hmac.new(b"WebAppData", bot_token.encode(), hashlib.sha256).hexdigest()
