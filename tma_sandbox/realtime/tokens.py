"""JSON Web Tokens, verified as the real server does, with its error texts."""

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

# Role and expiry are checked here, in the real server's order and with its texts.
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
    """The claims of a valid token. `text` is all of them, for `request.jwt.claims`."""

    role: str
    expires: int  # seconds since 1970
    text: str


class TokenError(Exception):
    """A token is not accepted.

    `code` and `text` are the real server's; it says `brief` at connect and `reason` for a join.
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
    """Return the claims of a token that has not expired at `now`. Raises TokenError.

    It must be signed with `secret`, or with the key in `signing` that its header names.
    """
    if token is None:
        raise TokenError("MissingAPIKey", "API key is missing")
    token = "".join(unquote(token).split())
    if problem := decoding_error(token):
        reason = f"UnknownErrorOnChannel: Erlang error: {problem}"
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
    """The error for a token that has expired."""
    text = f"Token has expired {int(now) - expires} seconds ago"
    return TokenError("InvalidJWTToken", text, brief="Token has expired")


def decoding_error(token: str) -> str | None:
    """Return the Erlang error that a token's parts cause on the real server, if any.

    It decodes the claims, then the header, before it verifies anything. A part that is valid base64
    but not JSON raises an error that only the join catches. None if the server reports a malformed
    token properly, or reads on.

    >>> decoding_error("abc.def.ghi")  # "def" is base64 for "u" and a byte that is no UTF-8
    '{:invalid_byte, 117}'
    >>> decoding_error("not.a.jwt")  # one letter is no base64
    """
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return None
    header, claims, _signature = parts
    for part in (claims, header):
        if _BASE64URL.fullmatch(part) is None or len(part) % 4 == 1:
            return None
        if problem := _not_json(base64.urlsafe_b64decode(part + "==")):
            return problem
    return None


def _not_json(data: bytes) -> str | None:
    """Return the error of Erlang's `json:decode` for these bytes; None if there is none.

    None also if Python finds no position. For the first byte the error is as recorded; after that
    Python's position may differ from Erlang's within a word or a number.
    """
    text = data.lstrip(b" \t\r\n")
    if not text:
        return ":unexpected_end"
    if text[0] not in _BEGINS_A_VALUE:
        return f"{{:invalid_byte, {text[0]}}}"
    try:
        # One character per byte, so that Python's position is that of the byte.
        json.loads(text.decode("latin-1"), parse_constant=_refuse)
    except JSONDecodeError as error:
        at_end = error.pos >= len(text)
        return ":unexpected_end" if at_end else f"{{:invalid_byte, {text[error.pos]}}}"
    except (ValueError, RecursionError):
        return None
    return None


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and Infinity are valid only in Python's JSON
