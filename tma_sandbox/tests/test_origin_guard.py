"""Web pages of other origins can use Supabase's paths of the stack, and nothing else."""

import asyncio

import aiohttp
import pytest
import pytest_asyncio

from realtime_bridge.commands.dashboard import STYLESHEET
from realtime_bridge.database import migrations_directory
from tests.integration.kit import World
from tma_sandbox.page import Page
from tma_sandbox.stack import LocalStack

pytestmark = pytest.mark.asyncio(loop_scope="session")

USER = {"id": 700_100_200, "first_name": "T"}
BOT = "/bot4200000001:AAlocal-local-local-local-local-local"
FAULT = '{"status": 500}'
# Method, path and body of all that is the stack's own; each would change something, or tell it.
OWN = [
    ("POST", "/_sign", '{"user": {"id": 1}}'),
    ("GET", "/_sent", None),
    ("DELETE", "/_sent", None),
    ("GET", "/_faults", None),
    ("POST", "/_faults", FAULT),
    ("DELETE", "/_faults", None),
    ("GET", "/_limits", None),
    ("POST", "/_limits", "{}"),
    ("DELETE", "/_limits", None),
    ("GET", f"{BOT}/sendMessage?chat_id=1&text=x", None),
    ("POST", f"{BOT}/sendMessage", '{"chat_id": 1, "text": "x"}'),
    ("GET", "/demo", None),
    ("GET", "/demo/session", None),
    ("GET", "/demo/panes.js", None),
    ("GET", "/", None),
    ("GET", "/nothing", None),
]
ELSEWHERE = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},  # a sandboxed frame, a file
    {"Origin": "http://127.0.0.1:1"},  # something else that serves on this machine
    {"Origin": "http://localhost"},
    {"Sec-Fetch-Site": "cross-site"},  # an <img>, a form's GET: no Origin
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
]
FOREIGN_NAMES = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example:{port}",
    "localhost.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "evil.example:80@localhost",
    "127.0.0.2:{port}",
    "0.0.0.0:{port}",
    "2130706433",
    "[::]:{port}",
    "[::ffff:127.0.0.1]",
    "::1",
    "localhost.:{port}",
    "localhost:evil",
    "localhost:",
    "localhost:1234567",
    "localhost, evil.example",
    "host.docker.internal:{port}",
    "",
]
LOOPBACK_NAMES = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    "127.0.0.1:{port}",
    "localhost:{port}",
    "[::1]:{port}",
    "LocalHost:{port}",
    "localhost:9",  # forwarded by ssh from another port
]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def demo():
    """A stack with the demo's page."""
    page = Page(USER, None, STYLESHEET)
    async with (
        LocalStack(migrations=migrations_directory(), routes=page.routes()) as stack,
        page.open(stack),
    ):
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def http(demo):
    """A plain HTTP client."""
    async with aiohttp.ClientSession(demo.url) as session:
        yield session


@pytest.fixture
def forgotten(demo):
    """Clear messages, faults and limits afterwards."""
    yield
    demo.bot_api.sent.clear()
    demo.bot_api.script.waiting.clear()
    demo.bot_api.limits = None


@pytest.fixture
def untouched(demo, forgotten):
    """Fail the test if it leaves a message, a fault or a limit."""
    yield
    assert (demo.bot_api.sent.after(0), demo.bot_api.script.waiting) == ([], [])
    assert demo.bot_api.limits is None


async def raw(demo, *lines):
    """Send one request with these lines; return the status and the rest of the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", demo.port)
    try:
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        async with asyncio.timeout(10):
            answer = (await reader.read()).decode()
    finally:
        writer.close()
    return int(answer.split()[1]), answer


@pytest.mark.parametrize("name", FOREIGN_NAMES)
@pytest.mark.parametrize("path", ["/rest/v1/tma_events", "/_sent", "/demo/session"])
async def test_another_name_leads_nowhere(demo, name, path):
    """DNS rebinding: for the browser it is the page's own origin; only the name differs."""
    status, answer = await raw(demo, f"GET {path} HTTP/1.1", f"Host: {name.format(port=demo.port)}")

    assert status in {400, 403}  # what is no host at all is refused even sooner
    assert "Access-Control" not in answer
    assert status == 400 or "Use http://127.0.0.1" in answer


@pytest.mark.parametrize(
    "hosts", [[], ["Host: localhost", "Host: evil.example"], ["Host: evil.example"] * 2]
)
async def test_one_name_it_must_be(demo, hosts):
    """A missing or repeated Host header is refused."""
    status, _ = await raw(demo, "GET /_sent HTTP/1.1", *hosts)

    assert status in {400, 403}


async def test_a_name_in_the_request_line_changes_nothing(demo):
    """The absolute form of a request: only the Host header counts."""
    refused, _ = await raw(demo, "GET http://127.0.0.1/_sent HTTP/1.1", "Host: evil.example")

    assert refused in {400, 403}


@pytest.mark.parametrize("name", LOOPBACK_NAMES)
async def test_this_machine_is_known_by_its_names(demo, name):
    """With and without a port."""
    status, _ = await raw(
        demo, "GET /auth/v1/health HTTP/1.1", f"Host: {name.format(port=demo.port)}"
    )

    assert status == 200


@pytest.mark.parametrize("headers", ELSEWHERE)
@pytest.mark.parametrize("own", OWN)
async def test_a_page_elsewhere_neither_reads_nor_triggers(http, untouched, headers, own):
    """A request without a preflight, which any page can send, has no effect."""
    method, path, body = own
    plain = {"Content-Type": "text/plain"} if body else {}
    async with http.request(method, path, data=body, headers=headers | plain) as answer:
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "another origin" in (await answer.json())["message"]


@pytest.mark.parametrize(("method", "path", "body"), OWN)
async def test_no_preflight_for_what_is_the_stacks_own_succeeds(http, method, path, body):
    """So a browser does not send the request."""
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": method}
    async with http.options(path, headers=asked) as answer:
        assert answer.status == 403
        assert not any(name.startswith("Access-Control") for name in answer.headers)


@pytest.mark.parametrize(("method", "path", "body"), OWN)
async def test_nobody_is_invited_to_read(http, forgotten, method, path, body):
    """Allowed requests get no CORS header either."""
    async with http.request(method, path, data=body) as answer:
        assert answer.status in {200, 400, 404}
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_another_page_may_be_let_frame_the_panes(http):
    """Which one, the panes say themselves, to the browser; nobody reads them, and what they do."""
    framing = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}
    async with http.get("/demo/panes", headers=framing) as answer:
        assert answer.status == 200
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with http.get("/demo/panes", headers={"Origin": "http://127.0.0.1:1"}) as answer:
        assert answer.status == 403
    async with http.get("/demo/session", headers=framing) as answer:
        assert answer.status == 403


async def test_the_stacks_own_page_and_programs_may(http, demo, forgotten):
    """From /demo, from the address bar, and from curl, which sends no such header."""
    own = {"Origin": demo.url, "Sec-Fetch-Site": "same-origin"}
    for headers in (own, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}):
        async with http.get("/_sent", headers=headers) as answer:
            assert (answer.status, await answer.json()) == (200, [])
    for path, body in (("/_faults", FAULT), ("/_sign", '{"user": {"id": 1}}')):
        async with http.post(path, data=body, headers=own) as answer:
            assert answer.status == 200


async def test_a_mini_app_on_another_port_writes_and_reads(http, demo):
    """A page of a development server can send preflight and request, and read the answers."""
    headers = {"Origin": "http://localhost:5173", "Sec-Fetch-Site": "cross-site"}
    asked = headers | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,content-type,x-telegram-init-data",
    }
    async with World.around(demo) as world:
        init_data = await world.sign(1)
    mine = {"apikey": demo.env()["SUPABASE_ANON_KEY"], "x-telegram-init-data": init_data}
    row = {"event_type": "tea"}

    async with http.options("/rest/v1/tma_events", headers=asked) as answer:
        preflight = answer.status, answer.headers["Access-Control-Allow-Origin"]
    async with http.get("/rest/v1/tma_events", headers=headers | mine) as answer:
        read = answer.status, answer.headers["Access-Control-Allow-Origin"]
    async with http.post("/rest/v1/tma_events", headers=headers, json=row) as answer:
        keyless = answer.status, answer.headers["Access-Control-Allow-Origin"]
    url = f"/realtime/v1/websocket?vsn=1.0.0&apikey={mine['apikey']}"
    async with http.ws_connect(url, headers=headers) as socket:
        connected = not socket.closed

    assert preflight[0] == read[0] == 200
    assert keyless[0] == 401
    assert {preflight[1], read[1], keyless[1]} <= {"*", "http://localhost:5173"}
    assert connected
