"""Whose token it is: JSON Web Tokens as the real server checks them, error texts included."""

import json
from dataclasses import dataclass
from urllib.parse import unquote

import jwt
from jwt.types import Options

_ALGORITHMS = ["HS256", "HS384", "HS512"]

# The role and the end are checked here, in the real server's order and words.
_SIGNATURE_ONLY: Options = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says. `text` is all of it, for `request.jwt.claims`."""

    role: str
    expires: int  # seconds since 1970
    text: str


class TokenError(Exception):
    """A token is not accepted.

    `code` and `text` are the real server's words for a join; `brief` the one at connect.
    """

    def __init__(self, code: str, text: str, brief: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.brief = brief or text


def verify(token: str | None, secret: str, now: float) -> Claims:
    """Read the claims of a token that is signed with `secret` and not over at `now`.

    Raises TokenError.
    """
    if token is None:
        raise TokenError("MissingAPIKey", "API key is missing")
    try:
        claims = jwt.decode(
            "".join(unquote(token).split()),
            secret,
            algorithms=_ALGORITHMS,
            options=_SIGNATURE_ONLY,
        )
    except jwt.InvalidSignatureError as error:
        raise TokenError("JwtSignatureError", "Failed to validate JWT signature") from error
    except jwt.InvalidAlgorithmError as error:
        raise TokenError(
            "JwtSignerError",
            "Failed to generate JWT signer, check your JWT secret or JWKS configuration",
        ) from error
    except jwt.InvalidTokenError as error:
        raise TokenError("MalformedJWT", "The token provided is not a valid JWT") from error
    expires, role = claims.get("exp"), claims.get("role")
    if isinstance(expires, int | float) and expires <= int(now):
        raise expired(int(expires), now)
    if not isinstance(expires, int | float) or not isinstance(role, str):
        raise TokenError("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
    return Claims(role, int(expires), json.dumps(claims, ensure_ascii=False))


def expired(expires: int, now: float) -> TokenError:
    """Say since when a token is over."""
    text = f"Token has expired {int(now) - expires} seconds ago"
    return TokenError("InvalidJWTToken", text, brief="Token has expired")
