"""The made-up secrets of one embedded stack."""

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
# As long as the tokens of Auth last; how long those of its gateway do Supabase does not say.
_HOUR = 3600
# Supabase's gateway knows its keys one by one; a JWT of another role is none, however well signed.
_API_KEY_ROLES = {"anon", "service_role"}
_NOT_THE_TIME: Options = {"verify_aud": False, "verify_exp": False}  # PostgREST sees to that
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
    signing: SigningKeys = NO_KEYS

    def api_key(self, role: str) -> str:
        """The API key of a role, as Supabase mints it: a JWT that is good for ten years."""
        return jwt.encode(_claims(role, _YEARS), self.jwt_secret, algorithm="HS256")

    def behind(self, key: str) -> str | None:
        """The JWT that Supabase's gateway puts in the place of an sb_ key; None for no such key.

        Where the stack has a signing key of its own it is one of an hour, signed with that.
        """
        role = {self.publishable_key: "anon", self.secret_key: "service_role"}.get(key)
        if role is None:
            return None
        return self.signing.sign(_claims(role, _HOUR)) or self.api_key(role)

    def is_api_key(self, key: str) -> bool:
        """Whether the gateway knows this key: an sb_ one, or a JWT signed with the JWT secret.

        A signing key makes tokens, and no API keys: these are refused where they are used as one.
        """
        if self.behind(key):
            return True
        try:
            claims = jwt.decode(key, self.jwt_secret, ["HS256"], options=_NOT_THE_TIME)
        except jwt.InvalidTokenError:
            return False
        return claims.get("role") in _API_KEY_ROLES

    def role_in(self, token: str) -> str | None:
        """The role in a token that this stack's parts accept, also when it has ended."""
        try:
            header = jwt.get_unverified_header(token)
            key = self.signing.verifier(header, self.jwt_secret)
            role = jwt.decode(token, key, [header["alg"]], options=_NOT_THE_TIME).get("role")
        except (jwt.PyJWTError, LookupError, TypeError, ValueError):
            return None
        return role if isinstance(role, str) else None

    @classmethod
    def kept_in(cls, path: Path, signing: SigningKeys = NO_KEYS) -> "Keys":
        """The keys in this file, made and written (mode 0600) when it is not there.

        `signing` have a file of their own, and are not written.
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
