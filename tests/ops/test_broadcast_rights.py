"""check, where Realtime refuses the broadcast bell: the fix mends it, or says who must."""

import re

import psycopg
import pytest
import pytest_asyncio

from realtime_bridge.commands.check import Fixes
from realtime_bridge.commands.check.broadcast import broadcast_fix
from realtime_bridge.credentials.tokens import ROLE
from realtime_bridge.database import migrations_directory, schema_parts
from tests.integration.kit import World
from tests.ops.project import Project
from tma_sandbox.postgres import ADMIN
from tma_sandbox.realtime import Delays
from tma_sandbox.restriction import restrict_realtime
from tma_sandbox.stack import LocalStack

POLICY = '"the bridge hears its bell" on realtime.messages'


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A bell that does not ring here within two seconds never will."""
    monkeypatch.setattr("realtime_bridge.commands.check.round_trip.RING_SECONDS", 2.0)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def restricted():
    """A stack on an image of summer 2026, to which the migrations were applied."""
    async with LocalStack(
        migrations=migrations_directory(),
        restricted_realtime=True,
        changes_poll=(0.005, 0.02),
        delays=Delays.none(),
    ) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def restricted_project(restricted, tmp_path):
    """That stack with a project that has the narrow key."""
    async with World.around(restricted) as world:
        project = Project(world, tmp_path)
        await with_the_narrow_key(project)
        yield project


async def with_the_narrow_key(project):
    await project.shell('echo "SUPABASE_KEY=$(realtime-bridge token)" >> .env')


def as_admin(stack, text):
    """What `docker exec ... psql -U supabase_admin` does."""
    with psycopg.connect(stack.postgres.dsn(user=ADMIN), autocommit=True) as connection:
        connection.execute(text)


@pytest.mark.parametrize(
    "damage",
    [
        "revoke select on realtime.messages from tma_bridge",
        "revoke usage on schema realtime from tma_bridge",
        f"drop policy {POLICY}",
    ],
)
async def test_where_the_owner_may_grant_the_pasted_fix_mends_it(project, damage):
    """The bell of changes rings on meanwhile, so it is a warning."""
    await with_the_narrow_key(project)
    await project.world.sql(damage)

    code, findings = await project.check()
    await project.paste(findings["realtime"]["fix"])
    mended, after = await project.check()

    assert (code, findings["realtime"]["status"]) == (0, "warning")
    assert "but broadcast: " in findings["realtime"]["detail"]
    assert findings["realtime"]["fix"]["where"] == "SQL editor"
    assert (mended, after["realtime"]["status"]) == (0, "ok")


async def test_a_role_with_all_rights_may_lose_this_one_too(project):
    """The grants are made out to the role that lacks them."""
    as_admin(project.world.stack, "revoke select on realtime.messages from service_role")

    _, findings = await project.check()
    await project.paste(findings["realtime"]["fix"])
    _, after = await project.check()

    assert "to service_role" in findings["realtime"]["fix"]["text"]
    assert (findings["realtime"]["status"], after["realtime"]["status"]) == ("warning", "ok")


async def test_where_nobody_of_the_project_may_grant_it_says_who_must(restricted_project):
    """With what that person runs; the role postgres is refused it."""
    project = restricted_project
    code, findings = await project.check()
    text = findings["realtime"]["fix"]["text"]
    statements = re.search(r"<<'SQL'\n(.*)\nSQL", text, re.DOTALL)[1]

    await project.world.sql("grant usage on schema realtime to tma_bridge")  # this one it may
    await project.world.sql("grant select on realtime.messages to tma_bridge")  # without effect
    _, still = await project.check()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await project.world.sql(statements)
    as_admin(project.world.stack, statements)
    mended, after = await project.check()

    assert (code, findings["realtime"]["status"]) == (0, "warning")
    assert still["realtime"]["status"] == "warning"
    assert "Postgres Changes ring alone" in text
    assert "-U supabase_admin" in text
    assert (mended, after["realtime"]["status"]) == (0, "ok")


async def test_on_a_hosted_project_it_says_what_is_to_be_done():
    """There nobody is supabase_admin."""
    fixes = Fixes({"SUPABASE_URL": "https://abcdefgh.supabase.co"})

    fix = broadcast_fix(ROLE, grantable=False, fixes=fixes)

    assert fix.where.value == "by hand"
    assert "support" in fix.text
    assert "Postgres Changes ring alone" in fix.text
    assert "sb_secret_" in fix.text


async def test_a_restriction_ends_as_it_began(restricted):
    """The mend of September: the owner of the project may grant again."""
    restrict_realtime(restricted.postgres.dsn(user=ADMIN), restricted=False)
    async with World.around(restricted) as world:
        await world.sql("revoke select on realtime.messages from tma_bridge")
        await world.sql("grant select on realtime.messages to tma_bridge")
        rows = await world.sql(
            "select has_table_privilege('tma_bridge', 'realtime.messages', 'select') as may"
        )
    restrict_realtime(restricted.postgres.dsn(user=ADMIN))

    assert rows == [{"may": True}]


def test_the_fix_gives_what_the_migration_gives():
    """Word for word, but for white space."""
    migrations = flat(" ".join(part.text for part in schema_parts()))

    for statement in broadcast_fix(ROLE, grantable=True, fixes=Fixes({})).text.split(";"):
        assert flat(statement) in migrations


def flat(text):
    return " ".join(text.split())
