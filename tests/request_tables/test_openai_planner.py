"""The example planner, against a local stand-in for a model's endpoint."""

import importlib.util
import json
from datetime import date
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime_bridge.base.stopwatch import Stopwatch
from realtime_bridge.observe import logs
from realtime_bridge.outcomes import Cause, Retry
from realtime_bridge.request_tables.handler import BROKE, RequestHandler
from realtime_bridge.request_tables.loader import load_request_tables
from realtime_bridge.settings import ConfigurationError, parse
from tests.request_tables.builders import request
from tests.request_tables.harness import bridge_with, insert_request, sent_texts, settled_requests
from tests.unit.test_settings import GOOD

FILE = Path(__file__).parents[2] / "examples" / "openai_planner.py"

pytestmark = pytest.mark.asyncio(loop_scope="session")


def load_example():
    spec = importlib.util.spec_from_file_location("openai_planner", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load_example()

PLAN = {
    "summary": "Win Ann.",
    "steps": [
        {"description": "Call Ann", "in_days": 0},
        {"description": "Write to Ann", "in_days": 400},
        {"description": "Look back", "in_days": -3},
    ],
}


def says(content, **fields):
    """A response of the endpoint."""
    text = content if isinstance(content, str) else json.dumps(content)
    return web.json_response({"choices": [{"message": {"content": text, **fields}}]})


class Model:
    """An OpenAI-compatible endpoint with scripted responses."""

    def __init__(self):
        self.answer = lambda: says(PLAN)
        self.asked = []
        self.url = ""

    async def complete(self, call):
        self.asked.append((call.headers["Authorization"], await call.json()))
        return self.answer()

    def planner(self, **settings):
        return example.OpenAIPlanner(
            {"OPENAI_API_KEY": "the-key", "OPENAI_BASE_URL": self.url, **settings}
        )

    async def plan(self, row=None):
        """What becomes of a request that this model plans for."""
        (table,) = load_request_tables(parse(GOOD), planner=self.planner())
        return await RequestHandler(table, max_attempts=3)(row or request(), Stopwatch())


@pytest_asyncio.fixture(loop_scope="session")
async def model():
    """The endpoint, listening."""
    model = Model()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.complete)
    async with TestServer(app) as server:
        model.url = str(server.make_url("/v1/"))
        yield model


async def test_the_models_days_become_dates(model):
    """In the user's calendar, from today to a year ahead."""
    outcome = await model.plan()

    assert outcome.result["summary"] == "Win Ann."
    assert [step["due"] for step in outcome.result["steps"]] == [
        "2026-11-23",
        "2027-11-23",
        "2026-11-23",
    ]


async def test_the_model_is_asked_as_the_endpoint_wants_it(model):
    """It gets the key, the schema, and the lead as data, but not who asks."""
    row = request(lead={"status": "new"}, payload={"likes": "tea"}, locale="uk", telegram_id=987654)

    await model.plan(row)

    ((key, body),) = model.asked
    assert key == "Bearer the-key"
    assert body["response_format"]["json_schema"]["schema"] == example.SCHEMA
    assert json.loads(body["messages"][-1]["content"]) == {
        "name": "Ann",
        "lead": {"status": "new"},
        "notes": {"likes": "tea"},
        "locale": "uk",
        "today": date(2026, 11, 23).isoformat(),
    }
    assert "987654" not in json.dumps(body)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_model_is_asked_again_later(model, status):
    """After the seconds that it asks for, if it does."""
    model.answer = lambda: web.Response(status=status, headers={"Retry-After": "7"})
    assert await model.plan() == Retry(
        f"the model is busy ({status})", after=7.0, cause=Cause.ASKED
    )

    model.answer = lambda: web.Response(status=status, headers={"Retry-After": "Mon, 1 Jan"})
    assert (await model.plan()).after < 7


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda: says("", refusal="no"), "The model does not want to plan for this lead."),
        (lambda: says("Sure! First, call Ann."), BROKE),
        (lambda: says({**PLAN, "steps": []}), BROKE),
        (lambda: says({"summary": "x"}), BROKE),
        (lambda: web.json_response({"choices": []}), BROKE),
        (lambda: web.Response(text="<html>", content_type="text/html"), BROKE),
        (lambda: web.Response(status=401), BROKE),
    ],
)
async def test_any_other_answer_fails_the_request(model, answer, text):
    """The user reads a sentence; the log has the details."""
    model.answer = answer

    assert (await model.plan()).error == text


async def test_the_log_does_not_show_the_key(model, written):
    """Not even when the endpoint refuses it."""
    model.answer = lambda: web.Response(status=401)
    logs.configure_logging("DEBUG", stream=written)

    await model.plan()

    logged = written.getvalue()
    assert "ClientResponseError" in logged
    assert "the-key" not in logged


async def test_a_missing_key_ends_the_start(tmp_path, monkeypatch):
    """As a configuration error that names it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.syspath_prepend(str(FILE.parent))
    settings = parse({**GOOD, "PLANNER": "openai_planner:OpenAIPlanner"})

    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY is not set"):
        load_request_tables(settings)

    (tmp_path / ".env").write_text("OPENAI_API_KEY=k\n")
    assert len(load_request_tables(settings)) == 1


async def test_a_request_of_a_mini_app_is_planned_by_the_model(world, model):
    """On the real stack."""
    async with bridge_with(world, model.planner()):
        await insert_request(world, payload={"lead_name": "Ann"})
        (row,) = await settled_requests(world)
        texts = await sent_texts(world, 1)

    assert row["result"]["summary"] == "Win Ann."
    assert texts[0] == "Plan for Ann is ready: 3 steps, first due today.\nWin Ann."
