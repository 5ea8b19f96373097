"""The recipe for your own request table, from the migration to the message."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from postgrest.exceptions import APIError

from realtime_bridge.database import migrations_directory
from realtime_bridge.request_tables.table import RequestTable
from tests.integration.kit import until
from tests.request_tables.harness import bridge_with, insert_request, sent_texts, settled_requests
from tma_sandbox import migrations

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "draft_requests"
TABLE = "draft_requests"
TODAY = "20261201000000"  # the version that `supabase migration new` gives the example's migration
USER = 4711
DROP = """
    drop table public.draft_requests;
    delete from bridge.request_tables where name = 'draft_requests';
    delete from supabase_migrations.schema_migrations where name = 'draft_requests';
"""


@pytest_asyncio.fixture(loop_scope="session")
async def project(world, tmp_path):
    """A project with our migrations and the example's."""
    for path in migrations_directory().glob("*.sql"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / f"{TODAY}_draft_requests.sql").symlink_to(EXAMPLE / "draft_requests.sql")
    dsn = world.stack.env()["DATABASE_URL"]
    assert await asyncio.to_thread(migrations.apply, dsn, tmp_path) == [TODAY]
    await world.sql("notify pgrst, 'reload schema'")
    yield world
    await world.sql(DROP)
    await world.sql("notify pgrst, 'reload schema'")


@pytest_asyncio.fixture(loop_scope="session")
async def mini_app(project):
    """A Mini App of the user, once the API knows the new table."""
    client = await project.mini_app(USER)

    async def known():
        try:
            return [(await client.table(TABLE).select("id").execute()).data]
        except APIError:
            return None

    await until(known)
    yield client
    await client.postgrest.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def bridge(project, mini_app, start):
    """`realtime-bridge run` in the example's folder, as the recipe says."""
    environment = project.environment(REQUEST_TABLES="drafts:drafts", TEMPLATES_DIR="templates")
    process = await start("run", env=environment, cwd=EXAMPLE)
    await process.says("doorbell_ready")
    return process


async def test_the_recipe_works_from_the_insert_to_the_message(project, mini_app, bridge):
    """A user's request is answered on the row, and the chat reads the draft."""
    columns = {
        "lead_id": 7,
        "step_id": "demo",
        "proof_url": "https://example.org/proof",
        "lead_context": {"topic": "prices"},
    }
    lines = (
        "Hello your lead, step demo is done: https://example.org/proof",
        "Shall we talk about prices next?",
    )

    await mini_app.table(TABLE).insert(columns).execute()
    await settled_requests(project, table=TABLE)
    (row,) = (await mini_app.table(TABLE).select("*").execute()).data
    texts = await sent_texts(project, 1)

    assert (row["status"], row["telegram_id"]) == ("completed", USER)
    assert row["result"] == {"draft": "\n".join(lines)}
    assert texts == ["\n".join(("Draft for your lead, step demo:", *lines))]
    assert await bridge.stop() == 0


async def test_a_failure_tells_the_user_what_to_do(project, mini_app, bridge):
    """The function's sentence is on the row and in the chat; plans go on meanwhile."""
    await insert_request(project, table=TABLE, step_id="demo")
    await insert_request(project)
    (row,) = await settled_requests(project, table=TABLE)
    await settled_requests(project)

    async def both_sent():
        texts = await project.texts()
        draft = "No draft for your lead. Add a link to the proof first." in texts
        return draft and any(text.startswith("Plan for your lead is ready") for text in texts)

    assert await until(both_sent)
    assert (row["status"], row["error"]) == ("failed", "Add a link to the proof first.")


async def test_a_table_that_is_lost_stops_its_lane_alone(project):
    """The bridge names the table and the fix; the sweep goes on for events."""
    drafts = RequestTable(TABLE, lambda _: "Dear ...")
    async with bridge_with(
        project,
        request_tables=[drafts],
        SWEEP_INTERVAL="1",
        FALLBACK_POLL_INTERVAL="1",
    ) as bridge:
        await project.sql(f"alter table {TABLE} rename to lost_requests")

        async def said():
            reasons = bridge.readiness()[1]["reasons"]
            return [why for why in reasons if "make_request_table('public.draft_requests'" in why]

        assert await until(said)
        await project.insert(
            USER,
            status="processing",
            attempt=1,
            claimed_at=datetime.now(UTC) - timedelta(hours=1),
        )
        assert await sent_texts(project, 1)
        await project.sql(f"alter table lost_requests rename to {TABLE}")
        await insert_request(project, table=TABLE, step_id="demo")
        (row,) = await settled_requests(project, table=TABLE)

    assert row["result"] == "Dear ..."


async def test_users_have_their_own_rows_and_columns_only(project, mini_app):
    """Row-level security is that of every request table."""
    stranger = await insert_request(project, USER + 1, table=TABLE, step_id="demo")

    visible = (await mini_app.table(TABLE).select("id").execute()).data
    for row in (
        {"step_id": "demo", "telegram_id": USER + 1},
        {"step_id": "demo", "status": "completed"},
        {"step_id": "demo", "proof_url": "javascript:alert(1)"},
    ):
        with pytest.raises(APIError):
            await mini_app.table(TABLE).insert(row).execute()

    assert visible == []
    rows = await project.sql("select id from draft_requests")
    assert [row["id"] for row in rows] == [stranger]


async def test_a_table_without_its_migration_ends_the_start(world, start):
    """Exit code 78, and the fix is printed."""
    environment = world.environment(REQUEST_TABLES="drafts:drafts")

    process = await start("run", env=environment, cwd=EXAMPLE)

    assert await process.ended() == 78
    assert "draft_requests is not a request table" in process.output
    assert "select bridge.make_request_table('public.draft_requests'" in process.output
    assert "Traceback" not in process.output


async def test_the_manual_shows_the_example_as_it_is():
    """docs/requests.md quotes the files that these tests run."""
    manual = (ROOT / "docs" / "requests.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", manual, re.MULTILINE | re.DOTALL)

    assert {name for name, _ in quoted} == {
        "examples/draft_requests/draft_requests.sql",
        "examples/draft_requests/drafts.py",
        "examples/draft_requests/templates/en/draft_ready.html",
    }
    for name, text in quoted:
        assert text in (ROOT / name).read_text(encoding="utf-8"), name
