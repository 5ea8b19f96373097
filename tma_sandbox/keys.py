"""The generated secrets of one stack."""

import json
import secrets
import string
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
from jwt.types import Options

from tma_sandbox.jwks import NO_KEYS, SigningKeys

_YEARS = 10 * 365 * 24 * 3600
# As long as the tokens of Auth; Supabase does not say how long those of its gateway are valid.
_HOUR = 3600
# Supabase's gateway has a list of keys: a JWT of another role is not one, even if well signed.
_API_KEY_ROLES = {"anon", "service_role"}
_IGNORE_EXPIRY: Options = {"verify_aud": False, "verify_exp": False}  # PostgREST checks it
_TOKEN_LETTERS = string.ascii_letters + string.digits + "_-"


def _bot_token() -> str:
    tail = "".join(secrets.choice(_TOKEN_LETTERS) for _ in range(33))
    return f"{secrets.randbelow(9 * 10**9) + 10**9}:AA{tail}"


def _opaque(kind: str) -> str:
    return f"sb_{kind}_{secrets.token_urlsafe(16)}_{secrets.token_urlsafe(6)}"


@dataclass(frozen=True)
class Keys:
    """A JWT secret, API keys and a bot token, made at random and valid for this stack only."""

    jwt_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    bot_token: str = field(default_factory=_bot_token, repr=False)
    publishable_key: str = field(default_factory=lambda: _opaque("publishable"), repr=False)
    secret_key: str = field(default_factory=lambda: _opaque("secret"), repr=False)
    signing: SigningKeys = NO_KEYS

    def api_key(self, role: str) -> str:
        """The API key of a role, as Supabase makes it: a JWT that is valid for ten years."""
        return jwt.encode(_claims(role, _YEARS), self.jwt_secret, algorithm="HS256")

    def behind(self, key: str) -> str | None:
        """The JWT that the gateway exchanges an sb_ key for; None for any other key.

        If the stack has a signing key, that key signs it, and it is valid for an hour.
        """
        role = {self.publishable_key: "anon", self.secret_key: "service_role"}.get(key)
        if role is None:
            return None
        return self.signing.sign(_claims(role, _HOUR)) or self.api_key(role)

    def is_api_key(self, key: str) -> bool:
        """Whether the gateway accepts this API key: an sb_ key, or a JWT by the JWT secret.

        A JWT by a signing key is a token, not an API key.
        """
        if self.behind(key):
            return True
        try:
            claims = jwt.decode(key, self.jwt_secret, ["HS256"], options=_IGNORE_EXPIRY)
        except jwt.InvalidTokenError:
            return False
        return claims.get("role") in _API_KEY_ROLES

    def role_in(self, token: str) -> str | None:
        """The role in a token with a valid signature, even if it has expired; None otherwise."""
        try:
            header = jwt.get_unverified_header(token)
            key = self.signing.verifier(header, self.jwt_secret)
            role = jwt.decode(token, key, [header["alg"]], options=_IGNORE_EXPIRY).get("role")
        except (jwt.PyJWTError, LookupError, TypeError, ValueError):
            return None
        return role if isinstance(role, str) else None

    @classmethod
    def kept_in(cls, path: Path, signing: SigningKeys = NO_KEYS) -> "Keys":
        """Read the keys from this file, or generate and write it (mode 0600).

        `signing` keys come from a file of their own and are not written.
        """
        if path.exists():
            return replace(cls(**json.loads(path.read_text())), signing=signing)
        keys = cls()
        path.touch(mode=0o600)
        made = asdict(keys)
        del made["signing"]
        path.write_text(json.dumps(made))
        return replace(keys, signing=signing)


def _claims(role: str, seconds: int) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": "supabase-local", "role": role, "iat": now, "exp": now + seconds}
