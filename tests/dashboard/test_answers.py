"""What the page is told, and what it does: from the real database."""

import asyncio
import json
import re
import socket
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
import structlog

from realtime_bridge.commands.dashboard import STYLESHEET
from realtime_bridge.credentials import tokens
from tests.dashboard.kit import fail, news, running_dashboard
from tests.integration.kit import until

STATIC = STYLESHEET.parent
SECRETS = ("SUPABASE_KEY", "BOT_TOKEN")


async def told(response):
    """The JSON of an answer that is one."""
    assert response.status == 200, await response.text()
    return await response.json()


async def told_until(http, wanted):
    """The first state in the stream that is as wanted."""
    async with asyncio.timeout(20), http.get("/events") as stream:
        async for line in stream.content:
            if line.startswith(b"data: ") and b'"known"' in line:
                state = json.loads(line.removeprefix(b"data: "))
                if wanted(state):
                    break
    return state


async def act(http, path, **body):
    async with http.post(path, json=body) as response:
        return response.status, await response.text()


async def test_the_stream_tells_everything(world, terminal):
    """Lanes, the last hour, ways and failures, in one stream."""
    delivered, failed = await world.insert(1), await fail(world, chat=2)
    async with world.running_bridge():
        await world.settled(2)

    async with terminal.session() as http:
        told = await news(http, "state", "hour", "ways", "failures", "trouble")

    assert told["trouble"] is None
    assert told["state"]["events"]["pending"] == 0
    assert "plan_requests" in told["state"]["requests"]
    assert told["hour"]["minutes"][-1]["delivered"] == 1
    assert {way["id"] for way in told["ways"]} == {delivered, failed}
    assert told["failures"][0]["latest_ids"] == [failed]


async def test_bridges_are_known_without_being_asked(world, terminal):
    """By their sweeps: with their bells, version and limit; and the pace of the bot."""
    bells = {"changes": "ready", "broadcast": "ready"}  # as of its latest sweep
    quick = {"TELEGRAM_RATE": "20", "SWEEP_INTERVAL": "1", "FALLBACK_POLL_INTERVAL": "1"}
    async with world.running_bridge(**quick), terminal.session() as http:
        state = await told_until(
            http, lambda state: any(bells.items() <= one.items() for one in state["known"])
        )

    (bridge,) = state["known"]
    assert bridge["per_second"] == 20
    assert (bridge["name"], bridge["version"]) == (socket.gethostname(), version("realtime-bridge"))
    assert state["pace"]["limits"]["bot_per_second"] == 20


async def test_all_scripts_are_asked_for_at_once(terminal):
    """One after the other, as each imports the next, they would cost a round trip each."""
    async with terminal.session() as http, http.get("/") as response:
        page = await response.text()

    preloaded = set(re.findall(r'<link rel="modulepreload" href="/static/(.*?)">', page))
    assert preloaded == {path.name for path in STATIC.glob("*.js")} - {"main.js"}
    assert "frame-src" not in response.headers["Content-Security-Policy"]


async def test_the_stream_goes_on(world, terminal):
    """A row that ends later is told by the same connection."""
    async with terminal.session() as http, http.get("/events") as stream:
        row = await world.insert(1)
        async with world.running_bridge():
            await world.settled(1)
            async with asyncio.timeout(20):
                async for line in stream.content:
                    if f'"id": {row}, '.encode() in line and b'"status": "delivered"' in line:
                        break


async def test_only_so_many_pages_are_told(terminal, monkeypatch):
    """Connections are few; one that ends makes room, as soon as it is written to."""
    monkeypatch.setattr("realtime_bridge.commands.dashboard.feed._SIGN_OF_LIFE_SECONDS", 0.1)
    async with terminal.session() as http:
        streams = [await http.get("/events") for _ in range(16)]
        async with http.get("/events") as refused:
            assert refused.status == 503
        streams.pop().close()

        async def room():
            async with http.get("/events") as stream:
                return stream.status == 200

        await until(room)
        for stream in streams:
            stream.close()


async def test_a_row_is_retried_and_the_log_says_so(world, terminal):
    """One line for the action."""
    row, other = await fail(world), await fail(world, chat=2)

    with structlog.testing.capture_logs() as lines:
        async with terminal.session() as http:
            status, text = await act(http, "/api/retry", ids=[row])

    assert (status, json.loads(text)) == (200, {"rows": 1, "matched": 1})
    assert (await world.row(row))["status"] == "pending"
    assert (await world.row(other))["status"] == "failed"
    (line,) = [line for line in lines if line["event"] == "rows_retried"]
    assert (line["rows"], line["ids"]) == (1, [row])


async def test_a_reason_and_a_time_range_narrow_each_other(world, terminal):
    """As on the command line."""
    old, new = await fail(world, "exhausted"), await fail(world, "exhausted", chat=2)
    other = await fail(world, "rejected", chat=3)
    await world.sql("update tma_events set settled_at = '2026-01-02Z' where id = %s", old)

    async with terminal.session() as http:
        body = {
            "failure": "exhausted",
            "since": "2026-01-01T00:00:00Z",
            "until": "2026-01-03T00:00:00Z",
        }
        counted = await act(http, "/api/retry/count", **body)
        retried = await act(http, "/api/retry", **body)

    assert json.loads(counted[1]) == {"counts": {"exhausted": 1}, "uncertain": 0}
    assert json.loads(retried[1]) == {"rows": 1, "matched": 1}
    states = [(await world.row(row))["status"] for row in (old, new, other)]
    assert states == ["pending", "failed", "failed"]


async def test_uncertain_rows_are_asked_about_first(world, terminal):
    """Nothing is done before somebody has said so, also by who does not ask how many."""
    rows = [await fail(world, "uncertain", chat=1), await fail(world, chat=2)]
    since = "2026-01-01T00:00:00Z"

    async with terminal.session() as http:
        status, text = await act(http, "/api/retry", since=since)

    assert status == 409
    assert json.loads(text) == {"counts": {"uncertain": 1, "blocked": 1}, "uncertain": 1}
    assert [(await world.row(row))["status"] for row in rows] == ["failed", "failed"]


async def test_uncertain_rows_can_be_left(world, terminal):
    """The others are retried."""
    uncertain, blocked = await fail(world, "uncertain"), await fail(world, chat=2)

    async with terminal.session() as http:
        await act(http, "/api/retry", since="2026-01-01T00:00:00Z", uncertain="leave")

    assert (await world.row(uncertain))["status"] == "failed"
    assert (await world.row(blocked))["status"] == "pending"


async def test_no_more_are_sent_twice_than_somebody_agreed_to(world, terminal):
    """One more has become uncertain since: it is asked again."""
    rows = [await fail(world, "uncertain", chat=chat) for chat in (1, 2)]

    async with terminal.session() as http:
        once = await act(http, "/api/retry", failure="uncertain", uncertain=1)
        before = [(await world.row(row))["status"] for row in rows]
        twice = await act(http, "/api/retry", failure="uncertain", uncertain=2)
        after = [(await world.row(row))["status"] for row in rows]

    assert (once[0], before) == (409, ["failed", "failed"])
    assert (twice[0], after) == (200, ["pending", "pending"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"ids": []}',
        b'{"ids": [-1]}',
        b'{"ids": ["1 or 1=1"]}',
        b'{"failure": "<b>"}',
        b'{"since": "yesterday"}',
        b'{"since": "2026-01-01T00:00:00"}',
        b'{"failure": "blocked", "uncertain": -1}',
        b'{"failure": "blocked", "p_limit": 5}',
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    ],
)
async def test_nonsense_retries_nothing(world, terminal, body):
    """It is said, and nothing is logged as a crash."""
    row = await fail(world)
    headers = {"Content-Type": "application/json"}
    async with terminal.session() as http:
        for path in ("/api/retry", "/api/retry/count"):
            async with http.post(path, data=body, headers=headers) as response:
                assert response.status in {400, 413}
    assert (await world.row(row))["status"] == "failed"


async def test_a_charset_that_does_not_exist(terminal):
    """What a request says of itself is somebody else's text."""
    headers = {"Content-Type": "application/json; charset=bogus"}
    async with (
        terminal.session() as http,
        http.post("/api/retry/count", data=b'{"ids": [1]}', headers=headers) as response,
    ):
        assert response.status == 200


async def test_a_row_is_shown_without_what_its_user_wrote(world, terminal):
    """Until somebody asks for that; the log says so, and not what it was."""
    row = await world.insert(4711, payload={"lead_name": "<b>Ann</b>"}, dedupe_key="mine")

    with structlog.testing.capture_logs() as lines:
        async with terminal.session() as http:
            async with http.get(f"/api/rows/{row}") as response:
                shown = await told(response)
            _, content = await act(http, f"/api/rows/{row}/content")

    assert shown["status"] == "pending"
    assert not [one for one in ("4711", "mine", "Ann") if one in json.dumps(shown)]
    assert json.loads(content)["telegram_id"] == "4711"
    assert "<b>Ann</b>" in json.loads(content)["payload"]
    assert [(line["event"], line["id"]) for line in lines] == [("content_shown", row)]


@pytest.mark.parametrize("path", ["/api/rows/999", "/api/rows/999/content", "/api/rows/1e3"])
async def test_a_row_that_is_not_there(terminal, path):
    """Purged, or never there."""
    async with terminal.session() as http:
        asked = http.post(path, json={}) if path.endswith("content") else http.get(path)
        async with asked as response:
            assert response.status == 404


async def test_the_narrow_key_sees_all_but_what_users_wrote(world, tmp_path):
    """And is told why."""
    row = await fail(world)
    stack = world.stack.env()
    key = tokens.mint(
        stack["SUPABASE_JWT_SECRET"], now=datetime.now(UTC), lifetime=timedelta(days=1)
    )
    narrow = {"SUPABASE_KEY": key, "SUPABASE_ANON_KEY": stack["SUPABASE_ANON_KEY"]}
    async with running_dashboard(world, tmp_path, **narrow) as terminal, terminal.session() as http:
        told = await news(http, "ways", "hour", "failures", "state")
        refused = await act(http, f"/api/rows/{row}/content")
        retried = await act(http, "/api/retry", ids=[row])

    assert told["ways"][0]["id"] == row
    assert refused[0] == 403
    assert "tma_bridge" in refused[1]
    assert retried[0] == 200


async def test_no_answer_has_a_secret(world, terminal):
    """Not even one that a server echoed into a row."""
    environment = world.environment()
    secrets = [environment[name] for name in SECRETS]
    row = await fail(world, error=f"<b>{' '.join(secrets)}</b>")
    await world.sql("update tma_events set payload = %s where id = %s", json.dumps(secrets), row)

    async with terminal.session() as http:
        texts = [json.dumps(await news(http, "state", "ways", "hour", "failures"))]
        for path in ("/", "/api/about", f"/api/rows/{row}", "/static/main.js"):
            async with http.get(path) as response:
                texts.append(await response.text())
        texts.append((await act(http, f"/api/rows/{row}/content"))[1])

    assert "[secret]" in texts[0]
    assert not [one for one in secrets for text in texts if one in text]


async def test_check_says_what_the_command_says(world, terminal):
    """The same findings, with the same fixes."""
    async with world.running_bridge(), terminal.session() as http:
        _, text = await act(http, "/api/check")

    names = [finding["name"] for finding in json.loads(text)]
    assert names[:2] == ["settings", "supabase"]
    assert {"realtime", "telegram", "clock"} <= set(names)


async def test_supabase_away(world, tmp_path):
    """The stream says so, and check says what to do."""
    async with (
        running_dashboard(world, tmp_path, SUPABASE_URL="http://127.0.0.1:9") as terminal,
        terminal.session() as http,
    ):
        told = await news(http, "trouble")
        _, text = await act(http, "/api/check")
        async with http.get("/api/rows/1") as response:
            assert response.status == 502

    assert told["trouble"]
    failed = [one for one in json.loads(text) if one["status"] == "failed"]
    assert failed[0]["name"] == "supabase"
    assert failed[0]["fix"]["text"]


async def test_missing_migrations(world, tmp_path):
    """The function that is not there is named, with what brings it."""
    await world.sql("alter function public.tma_event_ways(integer) rename to hidden_ways")
    await world.sql("notify pgrst, 'reload schema'")
    try:
        async with running_dashboard(world, tmp_path) as terminal, terminal.session() as http:

            async def complains():
                return (await news(http, "trouble"))["trouble"]

            text = await until(complains)
    finally:
        await world.sql("alter function public.hidden_ways(integer) rename to tma_event_ways")
        await world.sql("notify pgrst, 'reload schema'")

    assert "tma_event_ways" in text
    assert "Apply the migrations" in text
