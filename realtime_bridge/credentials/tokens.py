"""Keys: what they say of themselves, and those that are made from other secrets."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any

ROLE = "tma_bridge"
SECRET = "SUPABASE_JWT_SECRET"  # noqa: S105 - the name of the setting, not its value
_SHORTEST = 32
_LONGEST_KEY_ID = 64  # characters that are worth showing; Supabase's are UUIDs
_WHERE = (
    f"{SECRET} is not set: the project's JWT secret, from the dashboard (Project Settings > JWT "
    "Keys) or `npx supabase status`"
)

# What a signature is long, in base64url, by the algorithms of Supabase whose signatures have one
# length.
_SIGNATURES = {"HS256": 43, "ES256": 86}


@dataclass(frozen=True, slots=True)
class Key:
    """What is shown to Supabase: `secret` says who asks, `gateway` is what its gateway knows."""

    secret: str = field(repr=False)
    gateway: str = field(repr=False)

    @property
    def kind(self) -> str:
        """What it is called by people."""
        claims = claims_of(self.secret)
        if claims is None:
            return "an sb_secret_ key"
        role = claims.get("role")
        kind = f"a JWT of the role {role}" if isinstance(role, str) else "a JWT without a role"
        signed = signature_of(self.secret)
        return f"{kind} ({signed})" if signed else kind

    @property
    def ends(self) -> str:
        """When it ends, in UTC, as far as it says so."""
        return end_of(self.secret) or "never, unless it is revoked"


def claims_of(key: str) -> dict[str, Any] | None:
    """The claims of a key that is a JWT, unverified; None for any other kind of key.

    >>> claims_of("eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2ln")
    {'role': 'anon'}
    """
    return _part(key, 1)


def algorithm_of(key: str) -> str | None:
    """How a JWT says it is signed; None for any other kind of key."""
    return _named(key, "alg")


def key_id_of(key: str) -> str | None:
    """The id of the signing key that a JWT says it is signed with; the JWT secret has none."""
    return _named(key, "kid")


def signature_of(key: str) -> str | None:
    """How a JWT is signed and with which key, for people; None for any other kind of key.

    >>> signature_of("eyJhbGciOiJFUzI1NiIsImtpZCI6ImExIn0.eyJyb2xlIjoiYW5vbiJ9.c2ln")
    'ES256, kid a1'
    """
    algorithm, key_id = algorithm_of(key), key_id_of(key)
    if algorithm is None or key_id is None:
        return algorithm
    return f"{algorithm}, kid {key_id}"


def is_cut_short(key: str) -> bool:
    """Whether this is the beginning of a JWT: its signature is not as long as they are.

    >>> is_cut_short("eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2ln")
    True
    """
    long = _SIGNATURES.get(algorithm_of(key) or "")
    return long is not None and len(key.rpartition(".")[2].rstrip("=")) != long


def seconds_left(key: str, now: float) -> float:
    """Return how long a key is valid from `now` on; for ever (inf) if it does not say.

    Keys of the new kind (`sb_secret_...`) do not expire; JWTs carry `exp`. `now` is the time of
    day in seconds since 1970.
    """
    expires = (claims_of(key) or {}).get("exp")
    try:
        return float(expires) - now if isinstance(expires, int | float) else inf
    except OverflowError:
        return inf


def end_of(key: str) -> str | None:
    """When a key ends, as text; None if it does not say, or says nothing that is a time.

    >>> end_of("eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE4MDAwMDAwMDB9.c2ln")
    '2027-01-15 08:00 UTC'
    """
    try:
        moment = datetime.fromtimestamp(seconds_left(key, 0.0), UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _part(key: str, index: int) -> dict[str, Any] | None:
    """The header (0) or the claims (1) of a JWT."""
    try:
        header, body, _ = key.split(".")
        chosen = (header, body)[index]
        value = json.loads(base64.urlsafe_b64decode(chosen + "=" * (-len(chosen) % 4)))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _named(key: str, field: str) -> str | None:
    """What a JWT's header has in this field, if it is something to show on one line."""
    value = (_part(key, 0) or {}).get(field)
    fits = isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST_KEY_ID
    return value if fits else None


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

    Raises ValueError for what cannot be a project's secret: one shorter than 32 characters, an API
    key, or a key of another algorithm.
    """
    if secret.startswith(("sb_", "eyJ")):
        raise ValueError(f"{SECRET} is an API key; the JWT secret signs those and is none itself")
    if secret.lstrip().startswith(("{", "[", "-----BEGIN")):
        raise ValueError(f"{SECRET} is a signing key; give its file to --signing-key instead")
    if len(secret) < _SHORTEST:
        raise ValueError(f"{SECRET} is shorter than {_SHORTEST} characters")
    # Here, because it imports cryptography: nine megabytes that a running bridge does not need.
    import jwt

    return jwt.encode(bridge_claims(now, lifetime), secret, algorithm="HS256")


def is_signed_with(key: str, secret: str) -> bool:
    """Whether a key is a JWT that this JWT secret signed (HS256).

    >>> claims = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9"
    >>> is_signed_with(claims + ".I9woJzkrzDl72aE36jZFGLq4Ay46FY2HSMOFEw1KDdc", "secret")
    True
    """
    body, _, signature = key.rpartition(".")
    digest = hmac.digest(secret.encode(), body.encode(), "sha256")
    right = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return algorithm_of(key) == "HS256" and hmac.compare_digest(right, signature.encode())


def bridge_claims(now: datetime, lifetime: timedelta) -> dict[str, Any]:
    """What a key of the role `tma_bridge` says."""
    return {"iss": "realtime-bridge", "role": ROLE, "iat": now, "exp": now + lifetime}


def web_app_key(bot_token: str) -> str:
    """Derive, as hex, the key under which Telegram signs what Mini Apps know of their user.

    https://core.telegram.org/bots/webapps#validating-data-received-via-the-mini-app
    """
    return hmac.new(b"WebAppData", bot_token.encode(), hashlib.sha256).hexdigest()
