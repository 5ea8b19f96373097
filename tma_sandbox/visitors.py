"""Who may ask the embedded stack for what.

It listens on the loopback interface only, but a browser on this machine reaches that for any web
page. A page elsewhere may call what Supabase opens to browsers, which wants a key. The rest wants
none (`/_sign` makes anybody's signature), so it answers only to the stack's own page.
"""

import re
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

# To a browser every name is an origin of its own, and anybody's name may lead here (DNS rebinding).
_LOOPBACK = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_SUPABASE = re.compile(r"/(?:rest|realtime|auth)/v1(?:/|$)")
_OWN_PAGES = {"none", "same-origin"}  # none: the address bar


def refusal(
    path: str, hosts: Sequence[str], origins: Sequence[str], site: str | None
) -> dict[str, str] | None:
    """Why a request is not answered, with a hint; None for one that is.

    | who asks | what it gets |
    |---|---|
    | under another name than 127.0.0.1, localhost, [::1], or under none or two | nothing |
    | a web page of another origin, a loopback one too | /rest/v1, /realtime/v1, /auth/v1 |
    | the stack's own page; a program, which sends neither `origins` nor `site` | everything |

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
    if foreign or (not origins and site is not None and site not in _OWN_PAGES):
        return {
            "message": "A web page of another origin may only use /rest/v1, /realtime/v1, /auth/v1",
            "hint": "Ask for this from a program (curl), or type the address into the browser.",
        }
    return None


@web.middleware
async def known_visitors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer 403, readable by no other origin, to whom `refusal` turns away."""
    refused = refusal(
        request.rel_url.raw_path,
        request.headers.getall("Host", []),
        request.headers.getall("Origin", []),
        request.headers.get("Sec-Fetch-Site"),
    )
    return web.json_response(refused, status=403) if refused else await handler(request)
