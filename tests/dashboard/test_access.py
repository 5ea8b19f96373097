"""Who is let in: nobody without the token, and no web page but ours."""

import aiohttp
import pytest

from tests.dashboard.kit import fail

PATHS = ["/", "/events", "/static/main.js", "/api/about", "/api/rows/1", "/api/nothing"]
ACTIONS = [
    "/api/retry",
    "/api/retry/count",
    "/api/withdraw",
    "/api/check",
    "/api/rows/1/content",
]
ELSEWHERE = ["http://evil.test", "null", "http://localhost:1", "https://127.0.0.1"]
BLOCKED = {"failure": "blocked"}


@pytest.mark.parametrize("path", PATHS)
async def test_no_answer_without_a_session(terminal, path):
    """Neither the page nor its files, nor the stream; and nothing is said of them."""
    async with aiohttp.ClientSession(terminal.origin) as http, http.get(path) as response:
        assert response.status == 401
        assert "terminal" in await response.text()


@pytest.mark.parametrize("path", ACTIONS)
async def test_no_action_without_a_session(world, terminal, path):
    """Whatever else is right about the request."""
    row = await fail(world)
    headers = {"Origin": terminal.origin}

    async with (
        aiohttp.ClientSession(terminal.origin, headers=headers) as http,
        http.post(path, json=BLOCKED) as response,
    ):
        assert response.status == 401
    assert (await world.row(row))["status"] == "failed"


async def test_the_token_is_good_once(terminal):
    """Then the terminal shows another one."""
    first = terminal.address
    async with terminal.session() as http, http.get("/api/about") as response:
        assert response.status == 200
        second = terminal.address

    async with aiohttp.ClientSession() as stranger:
        async with stranger.get(first) as response:
            assert response.status == 401
            assert "has been used" in await response.text()
        async with stranger.get(second) as response:
            assert response.status == 200


async def test_looking_ahead_uses_up_no_token(terminal):
    """A chat that shows a preview, or a virus scanner, asks with HEAD first."""
    async with aiohttp.ClientSession() as http:
        async with http.head(terminal.address) as response:
            assert response.status == 401
        async with http.get(terminal.address) as response:
            assert response.status == 200


async def test_the_cookie_is_for_this_page_only(terminal):
    """Scripts cannot read it, other sites do not send it, and the token is not in it."""
    token = terminal.address.partition("token=")[2]
    async with aiohttp.ClientSession() as http, http.get(terminal.address) as response:
        cookie = response.headers["Set-Cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert token not in cookie
    assert terminal.origin.rpartition(":")[2] in cookie.partition("=")[0]


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:8787", "127.0.0.1.evil.test", "localhost.evil.test", "10.0.0.1", ""],
)
async def test_another_name_of_the_host_is_refused(terminal, host):
    """DNS rebinding: a page at evil.test that lets its name point to this machine."""
    async with terminal.session() as http, http.get("/api/about", headers={"Host": host}) as answer:
        assert answer.status in {400, 421}
        assert "version" not in await answer.text()


@pytest.mark.parametrize("host", ["localhost:9999", "127.0.0.1", "[::1]:22"])
async def test_a_forwarded_port_is_as_good(terminal, host):
    """`ssh -L` makes another port of it; the names of the loopback interface are all ours."""
    headers = {"Host": host, "Origin": f"http://{host}"}
    async with aiohttp.ClientSession(terminal.origin, headers=headers) as http:
        async with http.get(terminal.address) as response:
            cookie = response.headers["Set-Cookie"].partition(";")[0]
        async with http.get("/api/about", headers={"Cookie": cookie}) as response:
            assert response.status == 200


@pytest.mark.parametrize("origin", ELSEWHERE)
@pytest.mark.parametrize("path", ACTIONS)
async def test_a_page_elsewhere_cannot_act(world, terminal, origin, path):
    """CSRF, also by another server of this machine, which is the same site to the browser."""
    row = await fail(world)

    async with (
        terminal.session() as http,
        http.post(path, json=BLOCKED, headers={"Origin": origin}) as response,
    ):
        assert response.status == 403
    assert (await world.row(row))["status"] == "failed"


@pytest.mark.parametrize("origin", ELSEWHERE)
@pytest.mark.parametrize("path", PATHS)
async def test_a_page_elsewhere_cannot_read(terminal, origin, path):
    """Nor does an answer let it: no header of ours allows another origin."""
    async with terminal.session() as http:
        async with http.get(path, headers={"Origin": origin}) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers
        async with http.options(path, headers={"Origin": origin}) as response:
            assert response.status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_requests_without_an_origin_that_others_began_are_refused(terminal, site):
    """An image or a frame of another page: browsers send no Origin, but say whose it is."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    async with terminal.session() as http:
        for path in PATHS:
            async with http.get(path, headers=headers, skip_auto_headers=["Origin"]) as response:
                assert response.status == 403


async def test_an_action_needs_an_origin(world, terminal):
    """Every browser sends one with a POST."""
    row = await fail(world)
    async with terminal.session() as http:
        del http.headers["Origin"]
        async with http.post("/api/retry", json=BLOCKED) as response:
            assert response.status == 403
    assert (await world.row(row))["status"] == "failed"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
async def test_what_a_form_can_send_is_no_action(world, terminal, kind):
    """A form of another page sends these without asking first."""
    row = await fail(world)
    headers = {"Content-Type": kind}
    async with (
        terminal.session() as http,
        http.post("/api/retry", data='{"failure": "blocked"}', headers=headers) as response,
    ):
        assert response.status == 415
    assert (await world.row(row))["status"] == "failed"


@pytest.mark.parametrize("path", ["/", "/events", "/static/main.js", "/api/about", "/nowhere"])
async def test_every_answer_has_the_headers(terminal, path):
    """Only the page's own scripts run, and nobody keeps or frames what it shows."""
    async with terminal.session() as http, http.get(path) as response:
        headers = response.headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("name", ["..%2Fserver.py", "server.py", "%2Fetc%2Fpasswd", "main"])
async def test_nothing_but_the_pages_files_is_served(terminal, name):
    """No other file of the package, whatever the path."""
    async with terminal.session() as http, http.get(f"/static/{name}") as response:
        assert response.status == 404


async def test_it_listens_on_the_loopback_interface_only(terminal):
    """Nobody on the network can ask at all."""
    assert terminal.origin.startswith("http://127.0.0.1:")
