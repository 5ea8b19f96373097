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


@dataclass(frozen=True)
class Keys:
    """A JWT secret and a bot token, made at random; they open nothing but this stack."""

    jwt_secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    bot_token: str = field(default_factory=_bot_token, repr=False)

    def api_key(self, role: str) -> str:
        """The API key of a role, as Supabase mints it: a JWT that is good for ten years."""
        now = int(time.time())
        claims = {"iss": "supabase-local", "role": role, "iat": now, "exp": now + _YEARS}
        return jwt.encode(claims, self.jwt_secret, algorithm="HS256")

    @classmethod
    def kept_in(cls, path: Path) -> "Keys":
        """The keys in this file, made and written (mode 0600) when it is not there."""
        if path.exists():
            return cls(**json.loads(path.read_text()))
        keys = cls()
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(keys)))
        return keys
