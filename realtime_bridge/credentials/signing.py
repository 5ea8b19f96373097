"""A project's own signing key, the private half, as `supabase gen signing-key` writes it."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from realtime_bridge.credentials import tokens

# What Supabase can import, by what the key must be for it.
ALGORITHMS = {"ES256": ("EC", "P-256"), "RS256": ("RSA", None)}
GENERATE = "`npx supabase gen signing-key --algorithm ES256` makes one"
# The members of a JWK that make it a private one: RFC 7518, sections 6.2.2 and 6.3.2.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_SHORTEST_MODULUS = 2048  # bits; RFC 7518 says so of RS256
_LARGEST_FILE = 64 * 2**10  # bytes; nothing that holds keys is as large
_LONGEST_NAME = 32  # characters of an unknown algorithm that are worth showing
_PUBLIC = (
    "has the public half only, which verifies and cannot sign. The file that `supabase gen "
    "signing-key` wrote has both; of a key that Supabase made itself nobody gets the private half: "
    "make one of your own and import it"
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Signs keys for the bridge; the project knows it by `key_id`."""

    algorithm: str
    key_id: str
    jwk: dict[str, Any] = field(repr=False)

    def mint(self, *, now: datetime, lifetime: timedelta) -> str:
        """Sign a JWT of the role `tma_bridge`. Raises ValueError if the key is damaged."""
        # Here, because they import cryptography: nine megabytes that a running bridge does not
        # need.
        import jwt

        claims = tokens.bridge_claims(now, lifetime)
        try:
            key = jwt.PyJWK(self.jwk, self.algorithm).key
            token = jwt.encode(claims, key, self.algorithm, headers={"kid": self.key_id})
            # Of a key whose halves do not belong together every signature would be refused.
            public = {name: self.jwk[name] for name in self.jwk if name not in _PRIVATE}
            jwt.decode(
                token,
                jwt.PyJWK(public, self.algorithm).key,
                [self.algorithm],
                options={"verify_exp": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise ValueError(f"is damaged: {type(error).__name__}; {GENERATE}") from None
        return token


def read_signing_key(path: Path) -> SigningKey:
    """Read a JWK, or the first of several as the Supabase CLI does with its signing_keys.json.

    Raises ValueError, which names the file and says what to use instead; it quotes no key.
    """
    try:
        return parse(_text(path))
    except ValueError as error:
        raise ValueError(f"the signing key {path} {error}") from None


def parse(text: str) -> SigningKey:
    """Take a text for a signing key. Raises ValueError."""
    if text.lstrip().startswith("-----BEGIN"):
        raise ValueError(f"is in PEM. Supabase imports and exports a JWK: {GENERATE}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"is not JSON. A JWK is: {GENERATE}") from None
    if isinstance(value, dict) and "keys" in value:
        value = value["keys"]
    if isinstance(value, list):
        value = value[0] if value else None
    match value:
        case {"kty": str()}:
            return _checked(value)
        case _:
            raise ValueError(f"holds no JWK; {GENERATE}")


def _checked(jwk: dict[str, Any]) -> SigningKey:
    kind = jwk["kty"]
    if kind == "oct":
        raise ValueError(
            "is a shared secret (HS256). Leave out --signing-key, and set "
            f"{tokens.SECRET} to the project's JWT secret"
        )
    algorithm = jwk.get("alg", _algorithm_of(jwk))
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        named = algorithm if isinstance(algorithm, str) and algorithm.isprintable() else "unknown"
        raise ValueError(
            f"is for the algorithm {named[:_LONGEST_NAME]}; Supabase imports keys for ES256 and "
            f"RS256: {GENERATE}"
        )
    if ALGORITHMS[algorithm] != (kind, jwk.get("crv")):
        raise ValueError(f"is damaged: it is no key for {algorithm}; {GENERATE}")
    if "d" not in jwk:
        raise ValueError(_PUBLIC)
    if algorithm == "RS256" and _bits(jwk.get("n")) < _SHORTEST_MODULUS:
        raise ValueError(f"is shorter than {_SHORTEST_MODULUS} bits; {GENERATE}")
    key_id = jwk.get("kid")
    if not isinstance(key_id, str) or not key_id or not key_id.isprintable():
        raise ValueError(f"has no kid by which Supabase finds its public half; {GENERATE}")
    return SigningKey(algorithm, key_id, jwk)


def _algorithm_of(jwk: dict[str, Any]) -> str | None:
    """What a JWK that does not say it is for, as RFC 7517 allows."""
    shape = jwk["kty"], jwk.get("crv")
    return next((name for name, wanted in ALGORITHMS.items() if wanted == shape), None)


def _bits(number: Any) -> int:
    """The length of a number in base64url; 0 for anything else."""
    return len(number.rstrip("=")) * 6 if isinstance(number, str) else 0


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if len(data) > _LARGEST_FILE:
        raise ValueError(f"is too large for one; {GENERATE}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"is not text in UTF-8. A JWK is; {GENERATE}") from None
