"""Asymmetric signing keys, as JWKs."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import jwt

from tma_sandbox.errors import StackError

# The key type of each algorithm that Supabase supports.
_KINDS = {"ES256": "EC", "RS256": "RSA"}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_SYMMETRIC = frozenset({"HS256", "HS384", "HS512"})


@dataclass(frozen=True)
class SigningKeys:
    """JWKs for ES256 and RS256, as in the file of the Supabase CLI's `auth.signing_keys_path`.

    The first one with a private half signs. Those with only a public half verify, like the keys
    that a project has rotated out.
    """

    jwks: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file with one JWK, a list of JWKs, or a JWKS. Raises StackError."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise StackError(f"{path} cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise StackError(f"{path} is not JSON; {_ADVICE}") from error
        if isinstance(value, dict):
            value = value.get("keys", [value])
        if not isinstance(value, list) or not value:
            raise StackError(f"{path} holds no signing key; {_ADVICE}")
        for number, jwk in enumerate(value, 1):
            if problem := _problem(jwk):
                raise StackError(f"key {number} of {path} {problem}; {_ADVICE}")
        return cls(tuple(value))

    def public(self) -> list[dict[str, Any]]:
        """The public halves, as Auth publishes them."""
        return [
            {name: value for name, value in jwk.items() if name not in _PRIVATE}
            | {"key_ops": ["verify"]}
            for jwk in self.jwks
        ]

    def sign(self, claims: dict[str, Any]) -> str | None:
        """Sign with the first private key; None if there is none."""
        jwk = next((jwk for jwk in self.jwks if "d" in jwk), None)
        if jwk is None:
            return None
        key = jwt.PyJWK(jwk, jwk["alg"]).key
        return jwt.encode(claims, key, jwk["alg"], headers={"kid": jwk["kid"]})

    def verifier(self, header: dict[str, Any], secret: str) -> Any:
        """The key that verifies a token with this header. Raises jwt.InvalidAlgorithmError.

        As in Realtime, the algorithm and `kid` select it.
        """
        algorithm, key_id = header.get("alg"), header.get("kid")
        if isinstance(algorithm, str) and algorithm in _SYMMETRIC:
            return secret
        for jwk in self.public():
            if jwk["kid"] == key_id and jwk["alg"] == algorithm:
                return jwt.PyJWK(jwk, jwk["alg"]).key
        raise jwt.InvalidAlgorithmError("no such key")

    def for_postgrest(self, secret: str) -> str:
        """PostgREST's `jwt-secret`: the secret alone, or a JWKS of it and the public halves."""
        if not self.jwks:
            return secret
        encoded = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
        return json.dumps({"keys": [*self.public(), {"kty": "oct", "k": encoded}]})


NO_KEYS = SigningKeys()
_ADVICE = "`npx supabase gen signing-key --algorithm ES256` makes one"


def _problem(jwk: Any) -> str | None:
    """What is wrong with a key, if anything."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
        return "is no JWK with a kid"
    algorithm = jwk.get("alg")
    if not isinstance(algorithm, str) or _KINDS.get(algorithm, "") != jwk.get("kty"):
        return "is not for ES256 or RS256"
    try:
        jwt.PyJWK(jwk, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return "is damaged"
    return None
