"""Calls of database functions through PostgREST."""

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

# PostgREST's words for a function that it does not know: https://postgrest.org/en/v12/references/errors.html
_UNKNOWN_FUNCTION = {"PGRST202", "42883"}
_MIGRATE = (
    "Apply the migrations: npx supabase db push --remote (without --remote for the local stack; if "
    "they are applied: notify pgrst, 'reload schema')"
)
_OTHER_KEY = (
    "Set SUPABASE_KEY to an sb_secret_ key or the service_role key (dashboard: Project Settings > "
    "API Keys), or to a tma_bridge JWT with SUPABASE_ANON_KEY beside it"
)
_OTHER_URL = "Set SUPABASE_URL to the project's address, such as https://abcdefgh.supabase.co"
# A claim of many rows with a mebibyte each is shorter; what never ends is not.
ANSWER_LIMIT = 256 * 2**20
_ERROR_LIMIT = 64 * 2**10  # of an error's body nobody needs more
_UNREDACTED = Redactor()
_HTTP_OK = range(200, 400)
_HTTP_UNAUTHORIZED = (401, 403)
_HTTP_NOT_FOUND = 404
_HTTP_TOO_MANY = 429
_HTTP_SERVER = 500


class Unavailable(Exception):  # noqa: N818 - a state of the world that passes, not a mistake
    """No answer now. The call may or may not have been carried out."""


class Refused(Exception):  # noqa: N818 - named by what the database did
    """The answer is no, and asking again will not change it; `fix` says what will.

    `status` is HTTP's, `code` PostgREST's or PostgreSQL's, where there is one.
    """

    def __init__(self, what: str, fix: str, *, status: int = 0, code: str | None = None) -> None:
        super().__init__(f"{what}. {fix}" if fix else what)
        self.what = what
        self.fix = fix
        self.status = status
        self.code = code

    @property
    def of_the_function(self) -> bool:
        """Whether it is the function that is not there."""
        return self.code in _UNKNOWN_FUNCTION

    @property
    def of_the_key(self) -> bool:
        """Whether it is the key that is not good enough."""
        return self.status in _HTTP_UNAUTHORIZED

    @property
    def of_all(self) -> bool:
        """Whether the same is said to every such call, whatever rows it is about."""
        return self.status == _HTTP_UNAUTHORIZED[0] or self.of_the_function


async def _no_other(_refused: Key) -> bool:
    return False


class Rpc:
    """One connection pool to `/rest/v1/rpc/*` of a Supabase project.

    An async context manager. The supabase package is not used here: it costs a megabyte-heavy
    import and two milliseconds a call, and all that is needed is one POST.
    """

    def __init__(
        self,
        url: str,
        key: Callable[[], Key],
        other: Callable[[Key], Awaitable[bool]] = _no_other,
        redact: Redactor = _UNREDACTED,
    ) -> None:
        """`key()`: the key to use now, asked at each call.

        `other(refused)`: whether there is another one by now than this one, which was refused.
        `redact` is applied to whatever is raised: servers and proxies echo what they got.
        """
        self._base = f"{url}/rest/v1/rpc/"
        self._key = key
        self._other = other
        self._redact = redact
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Build one for the project that the settings name."""
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
        """Call `public.<function>` with named arguments; return its decoded JSON answer.

        What is refused for its key is asked once more if there is another key by now: it was not
        carried out. Raises Unavailable for what may pass by itself (no connection, timeouts, 5xx,
        429) and Refused for what a person must mend (key, grants, missing migration, bad
        arguments).
        """
        key = self._key()
        try:
            return await self._ask(function, arguments, key)
        except Refused as error:
            if not error.of_the_key or not await self._other(key):
                raise
        return await self._ask(function, arguments, self._key())

    async def _ask(self, function: str, arguments: Mapping[str, Any] | None, key: Key) -> Any:
        if self._session is None:
            raise RuntimeError("enter the Rpc first: async with Rpc(...) as rpc")
        try:
            async with self._session.post(
                self._base + function, data=json.dumps(arguments or {}), headers=_headers(key)
            ) as response:
                status = response.status
                limit = ANSWER_LIMIT if status in _HTTP_OK else _ERROR_LIMIT
                body, whole = await read_body(response, limit)
        except (aiohttp.ClientError, TimeoutError) as error:
            text = self._redact.line(f"{type(error).__name__}: {error}".rstrip(": "))
            raise Unavailable(text) from None  # an error of aiohttp's may quote the headers
        if status not in _HTTP_OK:
            return answer(function, status, body.decode(errors="replace"), self._redact)
        try:
            if whole:
                return answer(function, status, body.decode(), self._redact)
        except UnicodeDecodeError:
            pass
        raise _unusable(function)


def _headers(key: Key) -> dict[str, str]:
    headers = {"apikey": key.gateway, "Content-Type": "application/json"}
    if not key.secret.startswith("sb_"):  # an sb_ key is no JWT: the gateway exchanges the apikey
        headers["Authorization"] = f"Bearer {key.secret}"
    return headers


def answer(function: str, status: int, body: str, redact: Redactor = _UNREDACTED) -> Any:
    """Decode PostgREST's answer, or raise what its status means (see Rpc.call)."""
    if status >= _HTTP_SERVER or status == _HTTP_TOO_MANY:
        raise Unavailable(f"HTTP {status} from {function}: {_message(body, redact)}")
    if status in _HTTP_OK:
        try:
            return json.loads(body) if body else None
        except (ValueError, RecursionError):
            raise Unavailable(f"{function} answered something that is not JSON") from None
    raise _refusal(function, status, body, redact)


def shaped(shape: TypeAdapter[T], function: str, answered: Any) -> T:
    """Take an answer for what the function promises. Raises Unavailable for anything else.

    Somebody else answers in the function's place, or another version of it: either passes.
    """
    try:
        return shape.validate_python(answered)
    except (ValidationError, RecursionError):  # whose text would quote the answer
        raise _unusable(function) from None


def _unusable(function: str) -> Unavailable:
    return Unavailable(f"{function} answered something that the bridge cannot use")


def _refusal(function: str, status: int, body: str, redact: Redactor) -> Refused:
    code = _object(body).get("code")
    code = code if isinstance(code, str) else None
    message, hint = _message(body, redact), _hint(body, redact)
    what, fix = _explanation(function, status, code, message, hint)
    return Refused(what, fix, status=status, code=code)


def _explanation(
    function: str, status: int, code: str | None, message: str, hint: str
) -> tuple[str, str]:
    """What was refused, and what mends it."""
    if code in _UNKNOWN_FUNCTION:
        return f"the database has no function {function}", _MIGRATE
    if status in _HTTP_UNAUTHORIZED:
        return f"Supabase refused the key ({message})", _OTHER_KEY
    if status == _HTTP_NOT_FOUND and not code:
        where = f"/rest/v1/rpc/{function}"
        return f"there is no PostgREST at this address (HTTP 404 for {where})", _OTHER_URL
    return f"{function} was refused: {message}", hint


def _object(body: str) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _message(body: str, redact: Redactor) -> str:
    """The human part of an error body, short enough for a log line."""
    details = _object(body)
    told = (details.get("message"), details.get("msg"))
    return redact.line(next((text for text in told if text and isinstance(text, str)), body), 200)


def _hint(body: str, redact: Redactor) -> str:
    """What the database says would mend it, if it does."""
    hint = _object(body).get("hint")
    return redact.line(hint, 300) if isinstance(hint, str) else ""
