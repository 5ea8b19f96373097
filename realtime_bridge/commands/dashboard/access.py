"""Who may look and act: the browser that was opened with the address that the terminal shows.

The port is open to everybody on this machine, and to every web page that its browsers show. So:

- No answer without a session. A session begins with a token that is good once, as an address shows
  up in histories and logs; it is kept in a cookie that scripts cannot read.
- The Host must be a name of the loopback interface: a page elsewhere that lets its own name point
  here (DNS rebinding) names itself.
- What a page elsewhere sends is refused, also that of another port of this machine, which counts as
  the same site and so gets the cookie: by Origin, which browsers send with every POST, and by
  Sec-Fetch-Site.
"""

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOST_SESSIONS = 100
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_TOKEN = "token"  # noqa: S105 - the name of a parameter
_OURS = ("same-origin", "none")  # none: typed in, or from the terminal
_READING = (hdrs.METH_GET, hdrs.METH_HEAD)


class Access:
    """One-time tokens, and the sessions that they were exchanged for.

    >>> access = Access(opened=lambda: None)
    >>> session = access.exchange(access.token)
    >>> access.knows(session), access.knows("guessed")
    (True, False)
    """

    def __init__(self, opened: Callable[[], None]) -> None:
        """`opened()` is called when a token was used and `token` is another one."""
        self.token = secrets.token_urlsafe(32)
        self._opened = opened
        self._sessions: list[str] = []

    def exchange(self, token: str) -> str | None:
        """Begin a session, if the token is the one that was shown last."""
        if not _same(token, self.token):
            return None
        self.token = secrets.token_urlsafe(32)
        self._sessions = [*self._sessions, secrets.token_urlsafe(32)][-MOST_SESSIONS:]
        self._opened()
        return self._sessions[-1]

    def knows(self, session: str | None) -> bool:
        """Whether a session was begun here."""
        return session is not None and any(_same(session, one) for one in self._sessions)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who may; for the others one line that says why not."""
        _must_be_named_as_loopback(request)
        _must_come_from_our_page(request)
        if self.knows(request.cookies.get(_cookie(request))):
            return await handler(request)
        token = request.query.get(_TOKEN, "")
        # HEAD: what looks ahead at an address must not use it up.
        if request.method == hdrs.METH_GET and request.path == "/":
            session = self.exchange(token)
            if session is not None:
                response = await handler(request)
                response.set_cookie(_cookie(request), session, httponly=True, samesite="Strict")
                return response
        raise web.HTTPUnauthorized(text=_NOT_OPENED if not token else _USED)


_NOT_OPENED = "Open the address that the terminal shows, where realtime-bridge dashboard runs.\n"
_USED = (
    "This address has been used, or is not from this dashboard: each is good once. The terminal "
    "shows the next one.\n"
)


def _cookie(request: web.Request) -> str:
    """Cookies are shared by all ports of a host: two dashboards must not throw each other out."""
    return f"realtime_bridge_{request.host.rpartition(':')[2].rstrip(']')}"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())


def _must_be_named_as_loopback(request: web.Request) -> None:
    names = request.headers.getall(hdrs.HOST, [])
    if len(names) != 1 or not _LOOPBACK.fullmatch(names[0]):
        raise web.HTTPMisdirectedRequest(text="This is not the host that you asked for.\n")


def _must_come_from_our_page(request: web.Request) -> None:
    origins = request.headers.getall(hdrs.ORIGIN, [])
    ours = f"http://{request.headers[hdrs.HOST]}"
    reading = request.method in _READING
    if any(origin.lower() != ours.lower() for origin in origins) or not (origins or reading):
        raise web.HTTPForbidden(text="Another page asked for this.\n")
    # A link from elsewhere (a chat, a terminal in the browser) may lead here, and to "/" only:
    # there a token is needed, as the cookie does not come with it.
    link = reading and request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    if request.headers.get("Sec-Fetch-Site", "none") not in _OURS and not link:
        raise web.HTTPForbidden(text="Another page asked for this.\n")
    if not reading and request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Send JSON.\n")
