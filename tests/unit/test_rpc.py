"""What PostgREST's responses mean, and which key a call is made with."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import TypeAdapter

from realtime_bridge.credentials.redaction import Redactor
from realtime_bridge.credentials.tokens import Key
from realtime_bridge.database import rpc as calls
from realtime_bridge.database.rpc import Refused, Rpc, Unavailable, decode_response, shaped


def test_an_answer_is_its_json():
    """200 with a body, 204 without one."""
    assert decode_response("f", 200, '[{"id": 1}]') == [{"id": 1}]
    assert decode_response("f", 204, "") is None


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_unavailable(status):
    """Gateways answer with HTML pages; that is no reason to give up."""
    with pytest.raises(Unavailable, match=f"HTTP {status}"):
        decode_response("f", status, "<html>Bad gateway</html>")


def test_a_truncated_body_is_unavailable():
    """Half a response says nothing."""
    with pytest.raises(Unavailable):
        decode_response("f", 200, '[{"id"')


@pytest.mark.parametrize(
    ("status", "body", "fix"),
    [
        (404, {"code": "PGRST202", "message": "Could not find the function"}, "supabase db push"),
        (401, {"message": "Invalid API key"}, "SUPABASE_KEY"),
        (401, {"code": "PGRST301", "message": "JWT expired"}, "SUPABASE_KEY"),
        (403, {"code": "42501", "message": "permission denied for function f"}, "SUPABASE_KEY"),
        (404, "<html>nothing here</html>", "SUPABASE_URL"),
        (404, {"code": "PT404", "message": "x is not", "hint": "select make_x()"}, "make_x()"),
        (400, {"code": "22023", "message": "cannot settle", "hint": {}}, ""),
    ],
)
def test_what_a_person_must_fix_says_how(status, body, fix):
    """A refusal carries its fix."""
    text = body if isinstance(body, str) else json.dumps(body)

    with pytest.raises(Refused) as refused:
        decode_response("f", status, text)

    assert fix in refused.value.fix


DEEP = "[" * 20_000 + "]" * 20_000
SECRET = "sb_secret_Zq3vX8kLm2PwRt"


@pytest.mark.parametrize("body", [DEEP, "9" * 5_000, "{", "<html>"])
def test_a_body_that_no_function_wrote_is_no_answer(body):
    """Asking again may find the database."""
    with pytest.raises(Unavailable):
        decode_response("f", 200, body)


@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        "9" * 5_000,
        '{"code": ["PGRST202"], "message": {"deep": ' + "[" * 500 + "]" * 500 + "}}",
        '{"code": {}, "msg": 7}',
        "",
    ],
)
@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_refusal_in_any_shape_is_one(status, body):
    """The text may be nonsense, the refusal is clear."""
    with pytest.raises((Unavailable, Refused)) as raised:
        decode_response("f", status, body)

    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("value", [None, 7, "x", [1], {"a": None}, {"a": float("nan")}])
def test_another_shape_than_promised_is_no_answer(value):
    """Its values are not quoted: they may be a user's."""
    with pytest.raises(Unavailable, match=r"^f returned something that the bridge cannot use$"):
        shaped(TypeAdapter(dict[str, int]), "f", value)


@pytest.mark.parametrize("at", range(len(SECRET)))
def test_a_secret_is_hidden_before_a_message_is_cut(at):
    """Wherever the cut at two hundred characters falls."""
    text = "x" * (200 - at) + SECRET

    with pytest.raises(Refused) as refused:
        decode_response("f", 400, json.dumps({"message": text}), Redactor([SECRET]))

    assert "Zq3" not in str(refused.value)


@asynccontextmanager
async def serving(reply):
    """A server that replies to every call, and an Rpc to it."""

    async def handle(request):
        return await reply(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    key = Key(SECRET, SECRET)
    async with TestServer(app) as server, Rpc(str(server.make_url("")), lambda: key) as rpc:
        yield rpc


async def test_a_body_that_is_not_utf_8_is_no_answer():
    """Neither as a result nor as an error."""
    replies = [(200, Unavailable), (503, Unavailable), (403, Refused)]

    async def reply(_):
        return web.Response(status=replies[0][0], body=b'["\xff\xfe"]')

    async with serving(reply) as rpc:
        while replies:
            with pytest.raises(replies[0][1]):
                await rpc.call("f")
            replies.pop(0)


@pytest.mark.parametrize("status", [200, 500])
async def test_a_body_that_never_ends_is_left(status, monkeypatch):
    """A server cannot fill our memory."""
    monkeypatch.setattr(calls, "BODY_LIMIT", 2**20)

    async def reply(request):
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b" " * 65_536)
        return response

    async with serving(reply) as rpc:
        with pytest.raises(Unavailable):
            await rpc.call("f")


OLD, NEW = Key("sb_secret_old", "sb_secret_old"), Key("eyJh.eyJi.new", "anon")


class PostgREST:
    """Accepts one key, and holds its responses back while `go` is unset."""

    def __init__(self):
        self.good, self.asked, self.go = OLD, [], asyncio.Event()
        self.go.set()

    async def answer(self, request):
        shown = request.headers["apikey"], request.headers.get("Authorization")
        self.asked.append(shown)
        good = shown[0] == self.good.gateway
        await self.go.wait()
        if not good:
            return web.json_response({"message": "Invalid API key"}, status=401)
        return web.json_response(await request.json())

    @asynccontextmanager
    async def serve(self):
        app = web.Application()
        app.router.add_post("/rest/v1/rpc/{function}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        finally:
            await runner.cleanup()


@asynccontextmanager
async def calling(other):
    """An Rpc whose key is the last of a list, and its server."""
    server, keys = PostgREST(), [OLD]

    async def look(refused):
        return await other(refused, keys)

    async with server.serve() as url, Rpc(url, lambda: keys[-1], look) as rpc:
        yield server, keys, rpc


async def none(refused, keys):
    return False


async def test_the_next_call_shows_the_new_key():
    """An sb_ key is for the gateway alone; a JWT is sent along with a key that it knows."""
    async with calling(none) as (server, keys, rpc):
        await rpc.call("f")
        keys.append(NEW)
        server.good = NEW
        await rpc.call("f")

    assert server.asked == [("sb_secret_old", None), ("anon", "Bearer eyJh.eyJi.new")]


async def test_a_call_under_way_ends_with_the_key_it_began_with():
    """Nothing is dropped when the key changes."""
    async with calling(none) as (server, keys, rpc):
        server.go.clear()
        call = asyncio.create_task(rpc.call("f", {"n": 1}))
        while not server.asked:
            await asyncio.sleep(0.01)
        keys.append(NEW)
        server.good = NEW
        server.go.set()

        assert await call == {"n": 1}


async def test_a_refused_call_is_made_again_once_if_there_is_another_key():
    """`replace_key` is given the one that was refused."""

    async def other(refused, keys):
        assert refused == OLD
        keys.append(NEW)
        return True

    async with calling(other) as (server, _, rpc):
        server.good = NEW
        assert await rpc.call("f", {"n": 1}) == {"n": 1}
        server.good = OLD
        with pytest.raises(AssertionError):  # asked about the new one
            await rpc.call("f")

    assert [shown for shown, _ in server.asked] == ["sb_secret_old", "anon", "anon"]


@pytest.mark.parametrize("found", [False, True])
async def test_a_call_is_never_made_a_third_time(found):
    """Neither without another key, nor if that one is refused as well."""

    async def other(refused, keys):
        return found

    async with calling(other) as (server, _, rpc):
        server.good = NEW
        with pytest.raises(Refused) as refused:
            await rpc.call("f")

    assert refused.value.bad_key
    assert len(server.asked) == 1 + found
