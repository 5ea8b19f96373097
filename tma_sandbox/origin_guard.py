"""Which web pages may call which part of the stack.

The stack listens on the loopback interface only, but a browser on this machine connects there for
any web page. A page of another origin may call what Supabase opens to browsers, which needs an API
key. The rest needs none (`/_sign` signs as any user), so it answers only the stack's own page.
"""

import re
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

# A browser takes every host name for an origin, and any name can resolve to here (DNS rebinding).
_LOOPBACK = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_SUPABASE = re.compile(r"/(?:rest|realtime|auth)/v1(?:/|$)")
# A page that shows a demo frames this one, which says itself who may: it tells nothing.
_FRAMED = "/demo/panes"
_OWN_SITES = {"none", "same-origin"}  # none: typed into the address bar


def refusal(
    path: str, hosts: Sequence[str], origins: Sequence[str], site: str | None
) -> dict[str, str] | None:
    """Why a request is refused, with a hint; None if it is allowed.

    | request | allowed |
    |---|---|
    | Host is not 127.0.0.1, localhost or [::1], or is missing or repeated | nothing |
    | from a web page of another origin, even a loopback one | /rest/v1, /realtime/v1, /auth/v1 |
    | the same without an Origin, as a frame | also /demo/panes |
    | from the stack's own page, or a program (no Origin, no Sec-Fetch-Site) | everything |

    `hosts`, `origins` and `site` are the headers Host, Origin and Sec-Fetch-Site.
    """
    if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0]):
        return {
            "message": "Only requests to 127.0.0.1, localhost or [::1] are answered here",
            "hint": "Use http://127.0.0.1 with this port as the URL. A proxy or a tunnel must set "
            "the Host header to that; a container needs the host's network.",
        }
    if _SUPABASE.match(path):
        return None
    own = f"http://{hosts[0]}".lower()
    foreign = any(origin.lower() != own for origin in origins)
    elsewhere = not origins and site is not None and site not in _OWN_SITES
    if foreign or (elsewhere and path != _FRAMED):
        return {
            "message": "A web page of another origin may only use /rest/v1, /realtime/v1, /auth/v1",
            "hint": "Use a program (curl) instead, or type the address into the browser.",
        }
    return None


@web.middleware
async def guard_origin(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer 403, without CORS headers, to requests that `refusal` refuses."""
    refused = refusal(
        request.rel_url.raw_path,
        request.headers.getall("Host", []),
        request.headers.getall("Origin", []),
        request.headers.get("Sec-Fetch-Site"),
    )
    return web.json_response(refused, status=403) if refused else await handler(request)
