"""Whose token it is: JSON Web Tokens as the real server checks them, error texts included."""

import base64
import json
import re
from dataclasses import dataclass
from json import JSONDecodeError
from typing import NoReturn
from urllib.parse import unquote

import jwt
from jwt.types import Options

from tma_sandbox.jwks import NO_KEYS, SigningKeys

_ALGORITHMS = ["HS256", "HS384", "HS512", "ES256", "RS256"]
_MALFORMED = "The token provided is not a valid JWT"
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_BEGINS_A_VALUE = b'{["-0123456789tfn'

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

    `code` and `text` are the real server's words, `brief` those at connect, `reason` those for a
    join.
    """

    def __init__(
        self, code: str, text: str, *, brief: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.brief = brief or text
        self.reason = reason or f"{code}: {text}"


def verify(token: str | None, secret: str, now: float, signing: SigningKeys = NO_KEYS) -> Claims:
    """Read the claims of a token that is not over at `now`.

    It is signed with `secret`, or with one of the keys `signing`, of which its header names one.

    Raises TokenError.
    """
    if token is None:
        raise TokenError("MissingAPIKey", "API key is missing")
    token = "".join(unquote(token).split())
    if trouble := stumbling_block(token):
        reason = f"UnknownErrorOnChannel: Erlang error: {trouble}"
        raise TokenError("MalformedJWT", _MALFORMED, reason=reason)
    try:
        key = signing.verifier(jwt.get_unverified_header(token), secret)
        claims = jwt.decode(
            token,
            key,
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
        raise TokenError("MalformedJWT", _MALFORMED) from error
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


def stumbling_block(token: str) -> str | None:
    """Tell what the real server stumbles over when it reads a token's parts, if it does.

    It reads the claims first, then the header, before it checks anything: a part that is base64
    and no JSON raises an error that nobody catches but the join. None where it says properly
    that the token is malformed, and where it reads on.

    >>> stumbling_block("abc.def.ghi")  # "def" is base64 for "u" and a byte that is no UTF-8
    '{:invalid_byte, 117}'
    >>> stumbling_block("not.a.jwt")  # one letter is no base64
    """
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return None
    header, claims, _signature = parts
    for part in (claims, header):
        if _BASE64URL.fullmatch(part) is None or len(part) % 4 == 1:
            return None
        if trouble := _not_json(base64.urlsafe_b64decode(part + "==")):
            return trouble
    return None


def _not_json(data: bytes) -> str | None:
    """Say as Erlang's `json:decode` does what is wrong; None if nothing, or in ways untold.

    The first byte is as recorded. Beyond it the byte is the one that Python stumbles over, which
    may be another one than Erlang's within a word or a number.
    """
    text = data.lstrip(b" \t\r\n")
    if not text:
        return ":unexpected_end"
    if text[0] not in _BEGINS_A_VALUE:
        return f"{{:invalid_byte, {text[0]}}}"
    try:
        # One character a byte, so that Python's place in the text is the place in the bytes.
        json.loads(text.decode("latin-1"), parse_constant=_refuse)
    except JSONDecodeError as error:
        at_end = error.pos >= len(text)
        return ":unexpected_end" if at_end else f"{{:invalid_byte, {text[error.pos]}}}"
    except (ValueError, RecursionError):
        return None
    return None


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and Infinity are Python's own idea of JSON
