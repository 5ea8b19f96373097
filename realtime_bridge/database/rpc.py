"""Calls database functions through PostgREST."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, TypeVar

import aiohttp
from pydantic import TypeAdapter, ValidationError

from realtime_bridge.base import read_body
from realtime_bridge.credentials import Key, Redactor
from realtime_bridge.settings import Settings

T = TypeVar("T")

TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
# An idle connection is kept for so long: the sweeps use it, and below what clouds' load balancers
# and address translations forget without a word (240 s and more). A gateway that closes it earlier
# says so, and the next call opens another.
KEEP_ALIVE_SECONDS = 180.0

# The function does not exist: https://postgrest.org/en/v12/references/errors.html
_UNKNOWN_FUNCTION = {"PGRST202", "42883"}
_FIX_SCHEMA = (
    "Apply the migrations: npx supabase db push --remote (without --remote for the local stack; if "
    "they are applied: notify pgrst, 'reload schema')"
)
_FIX_KEY = (
    "Set SUPABASE_KEY to an sb_secret_ key or the service_role key (dashboard: Project Settings > "
    "API Keys), or to a tma_bridge JWT with SUPABASE_ANON_KEY beside it"
)
_FIX_URL = "Set SUPABASE_URL to the project's address, such as https://abcdefgh.supabase.co"
# Bytes. A claim of many rows with a mebibyte each is shorter; an endless body is not.
BODY_LIMIT = 256 * 2**20
_ERROR_BODY_LIMIT = 64 * 2**10
_UNREDACTED = Redactor()
_HTTP_OK = range(200, 400)
_HTTP_UNAUTHORIZED = (401, 403)
_HTTP_NOT_FOUND = 404
_HTTP_TOO_MANY = 429
_HTTP_SERVER = 500


class Unavailable(Exception):  # noqa: N818 - a state that passes, not a mistake
    """No answer this time. The call may or may not have been carried out."""


class Refused(Exception):  # noqa: N818 - says what the database did
    """The answer is no, and will be until a person applies the `fix`.

    `status` is the HTTP status; `code` is PostgREST's or PostgreSQL's, if there is one.
    """

    def __init__(self, what: str, fix: str, *, status: int = 0, code: str | None = None) -> None:
        super().__init__(f"{what}. {fix}" if fix else what)
        self.what = what
        self.fix = fix
        self.status = status
        self.code = code

    @property
    def missing_function(self) -> bool:
        """Whether the function does not exist."""
        return self.code in _UNKNOWN_FUNCTION

    @property
    def bad_key(self) -> bool:
        """Whether the key is invalid or lacks rights."""
        return self.status in _HTTP_UNAUTHORIZED

    @property
    def of_all(self) -> bool:
        """Whether every such call is refused, whatever its rows."""
        return self.status == _HTTP_UNAUTHORIZED[0] or self.missing_function


async def _no_other_key(_refused: Key) -> bool:
    return False


class Rpc:
    """One connection pool to `/rest/v1/rpc/*` of a Supabase project.

    An async context manager. It does without the supabase package, which costs megabytes to import
    and two milliseconds a call: all that is needed is one POST.
    """

    def __init__(
        self,
        url: str,
        key: Callable[[], Key],
        replace_key: Callable[[Key], Awaitable[bool]] = _no_other_key,
        redact: Redactor = _UNREDACTED,
    ) -> None:
        """`key()` is asked for the key at each call.

        `replace_key(refused)`: whether there is another key by now than the one that was refused.
        `redact` is applied to everything raised: servers and proxies echo what they were sent.
        """
        self._base = f"{url}/rest/v1/rpc/"
        self._key = key
        self._replace_key = replace_key
        self._redact = redact
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make one for the project that the settings name."""
        return cls(settings.supabase_url, lambda: settings.key, redact=settings.redact)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=TIMEOUT, connector=aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE_SECONDS)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, function: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Call `public.<function>` with named arguments; return its decoded JSON result.

        A call that is refused because of its key was not carried out: it is made once more if there
        is another key by now. Raises Unavailable for what may pass by itself (no connection,
        timeouts, 5xx, 429) and Refused for what a person must fix (key, grants, missing migration,
        bad arguments).
        """
        key = self._key()
        try:
            return await self._post(function, arguments, key)
        except Refused as error:
            if not error.bad_key or not await self._replace_key(key):
                raise
        return await self._post(function, arguments, self._key())

    async def _post(self, function: str, arguments: Mapping[str, Any] | None, key: Key) -> Any:
        if self._session is None:
            raise RuntimeError("enter the Rpc first: async with Rpc(...) as rpc")
        try:
            async with self._session.post(
                self._base + function, data=json.dumps(arguments or {}), headers=_headers(key)
            ) as response:
                status = response.status
                limit = BODY_LIMIT if status in _HTTP_OK else _ERROR_BODY_LIMIT
                body, whole = await read_body(response, limit)
        except (aiohttp.ClientError, TimeoutError) as error:
            text = self._redact.line(f"{type(error).__name__}: {error}".rstrip(": "))
            raise Unavailable(text) from None  # aiohttp's error may quote the headers
        if status not in _HTTP_OK:
            return decode_response(function, status, body.decode(errors="replace"), self._redact)
        try:
            if whole:
                return decode_response(function, status, body.decode(), self._redact)
        except UnicodeDecodeError:
            pass
        raise _unusable(function)


def _headers(key: Key) -> dict[str, str]:
    headers = {"apikey": key.gateway, "Content-Type": "application/json"}
    if not key.secret.startswith("sb_"):  # an sb_ key is no JWT: the gateway exchanges the apikey
        headers["Authorization"] = f"Bearer {key.secret}"
    return headers


def decode_response(function: str, status: int, body: str, redact: Redactor = _UNREDACTED) -> Any:
    """Decode PostgREST's response, or raise what its status means (see Rpc.call)."""
    if status >= _HTTP_SERVER or status == _HTTP_TOO_MANY:
        raise Unavailable(f"HTTP {status} from {function}: {_message(body, redact)}")
    if status in _HTTP_OK:
        try:
            return json.loads(body) if body else None
        except (ValueError, RecursionError):
            raise Unavailable(f"{function} returned something that is not JSON") from None
    raise _refusal(function, status, body, redact)


def shaped(shape: TypeAdapter[T], function: str, result: Any) -> T:
    """Validate what a function returned. Raises Unavailable if it has not the promised shape.

    Then something else answered in the function's place, or another version of it; either passes.
    """
    try:
        return shape.validate_python(result)
    except (ValidationError, RecursionError):  # whose text would quote the result
        raise _unusable(function) from None


def _unusable(function: str) -> Unavailable:
    return Unavailable(f"{function} returned something that the bridge cannot use")


def _refusal(function: str, status: int, body: str, redact: Redactor) -> Refused:
    code = _error_fields(body).get("code")
    code = code if isinstance(code, str) else None
    message, hint = _message(body, redact), _hint(body, redact)
    what, fix = _explanation(function, status, code, message, hint)
    return Refused(what, fix, status=status, code=code)


def _explanation(
    function: str, status: int, code: str | None, message: str, hint: str
) -> tuple[str, str]:
    """What was refused, and the fix."""
    if code in _UNKNOWN_FUNCTION:
        return f"the database has no function {function}", _FIX_SCHEMA
    if status in _HTTP_UNAUTHORIZED:
        return f"Supabase refused the key ({message})", _FIX_KEY
    if status == _HTTP_NOT_FOUND and not code:
        where = f"/rest/v1/rpc/{function}"
        return f"there is no PostgREST at this address (HTTP 404 for {where})", _FIX_URL
    return f"{function} was refused: {message}", hint


def _error_fields(body: str) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _message(body: str, redact: Redactor) -> str:
    """The human-readable part of an error body, cut to the length of a log line."""
    details = _error_fields(body)
    texts = (details.get("message"), details.get("msg"))
    return redact.line(next((text for text in texts if text and isinstance(text, str)), body), 200)


def _hint(body: str, redact: Redactor) -> str:
    """The fix that the database suggests, if it does."""
    hint = _error_fields(body).get("hint")
    return redact.line(hint, 300) if isinstance(hint, str) else ""
