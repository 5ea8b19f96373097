"""The made-up secrets of one embedded stack."""

import json
import secrets
import string
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jwt

_YEARS = 10 * 365 * 24 * 3600
_TOKEN_LETTERS = string.ascii_letters + string.digits + "_-"


def _bot_token() -> str:
    tail = "".join(secrets.choice(_TOKEN_LETTERS) for _ in range(33))
    return f"{secrets.randbelow(9 * 10**9) + 10**9}:AA{tail}"


def _opaque(kind: str) -> str:
    return f"sb_{kind}_{secrets.token_urlsafe(16)}_{secrets.token_urlsafe(6)}"


@dataclass(frozen=True)
class Keys:
    """A JWT secret, API keys and a bot token, made at random; they open nothing but this stack."""

    jwt_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    bot_token: str = field(default_factory=_bot_token, repr=False)
    publishable_key: str = field(default_factory=lambda: _opaque("publishable"), repr=False)
    secret_key: str = field(default_factory=lambda: _opaque("secret"), repr=False)

    def api_key(self, role: str) -> str:
        """The API key of a role, as Supabase mints it: a JWT that is good for ten years."""
        now = int(time.time())
        claims = {"iss": "supabase-local", "role": role, "iat": now, "exp": now + _YEARS}
        return jwt.encode(claims, self.jwt_secret, algorithm="HS256")

    def behind(self, key: str) -> str | None:
        """The JWT that Supabase's gateway puts in the place of an sb_ key; None for no such key."""
        roles = {self.publishable_key: "anon", self.secret_key: "service_role"}
        return self.api_key(roles[key]) if key in roles else None

    @classmethod
    def kept_in(cls, path: Path) -> "Keys":
        """The keys in this file, made and written (mode 0600) when it is not there."""
        if path.exists():
            return cls(**json.loads(path.read_text()))
        keys = cls()
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(keys)))
        return keys
