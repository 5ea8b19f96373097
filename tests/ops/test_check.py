"""check: whatever is broken is named, and what it prints mends it."""

import re
import time

import jwt
import pytest

from realtime_bridge.commands.check import Fixes, Status, examine
from realtime_bridge.commands.check.command import run_check
from realtime_bridge.settings import load
from tests.integration.kit import World
from tests.ops.project import Project
from tma_sandbox.stack import LocalStack


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A bell that does not ring here within two seconds never will."""
    monkeypatch.setattr("realtime_bridge.commands.check.round_trip.RING_SECONDS", 2.0)


ORDER = [
    "settings",
    "supabase",
    "key",
    "migrations",
    "publication",
    "access",
    "bells",
    "limits",
    "realtime",
    "mini-app",
    "telegram",
    "clock",
    "names",
]


def signed(role, secret):
    return jwt.encode({"role": role}, secret, algorithm="HS256")


async def test_a_healthy_project_is_all_green(project):
    """Every dependency in its order, and both bells ring with their milliseconds."""
    code, findings = await project.check()

    assert code == 0
    assert list(findings) == ORDER
    assert {finding["status"] for finding in findings.values()} == {"ok"}
    assert "broadcast rang after" in findings["realtime"]["detail"]
    assert "changes rang after" in findings["realtime"]["detail"]


async def test_a_check_leaves_nothing_behind(project):
    """The probe is gone and nothing was sent."""
    await project.check()

    assert await project.world.sql("select * from tma_events") == []
    assert await project.world.sent() == []


@pytest.mark.parametrize(
    ("damage", "named", "says"),
    [
        (
            "alter publication supabase_realtime drop table bridge.bells",
            "publication",
            "lacks bridge.bells",
        ),
        ("alter table tma_events disable row level security", "access", "security is off"),
        ("alter table plan_requests disable row level security", "access", "plan_requests"),
        (
            "grant execute on function claim_tma_events to anon",
            "access",
            "may call public.claim_tma_events",
        ),
        ("alter table tma_events disable trigger tma_bell", "bells", "tma_events do not ring"),
        ("drop function settle_tma_events", "migrations", "settle_tma_events"),
        ("drop function claim_tma_requests", "migrations", "claim_tma_requests"),
        ("drop trigger tma_bell on plan_requests", "bells", "plan_requests do not ring"),
        ("drop function tma_bridge_check", "migrations", "tma_bridge_check"),
        ("revoke execute on function sweep_tma from service_role", "migrations", "sweep_tma"),
    ],
)
async def test_damage_to_the_database_is_named_and_mended(project, damage, named, says):
    """Break it, look, paste what is printed, look again."""
    await project.world.sql(damage)

    broken, findings = await project.until_found(named, says)
    await project.paste(findings[named]["fix"])
    after = await project.until_well()

    assert (broken, findings[named]["status"]) == (1, "failed")
    assert after[named]["status"] == "ok"


@pytest.mark.parametrize(
    ("change", "says", "fix"),
    [
        ("limits_differed_at = now()", "different limits", "the same TELEGRAM_RATE"),
        ("paused_until = now() + interval '50 seconds'", "no message for", "wait"),
    ],
)
async def test_what_slows_all_replicas_down_is_a_warning(project, change, says, fix):
    """It passes, or somebody must agree on a number."""
    await project.world.sql(f"update bridge.bot_pace set {change}")

    code, findings = await project.check()

    await project.world.sql(
        "update bridge.bot_pace set limits_differed_at = default, paused_until = default"
    )
    limits = findings["limits"]
    assert (code, limits["status"]) == (0, "warning")
    assert says in limits["detail"]
    assert fix in limits["fix"]["text"]


async def test_a_permissive_policy_is_a_warning(project):
    """Some need it for a while: it is said every time, and it fails no check."""
    await project.world.sql('create policy "allow all" on tma_events for all using (true)')
    await project.world.sql("update bridge.settings set allow_unverified = true")

    code, findings = await project.check()
    await project.paste(findings["access"]["fix"])
    _, after = await project.check()

    assert (code, findings["access"]["status"]) == (0, "warning")
    assert '"allow all" on tma_events' in findings["access"]["detail"]
    assert after["access"]["status"] == "ok"


async def test_a_renamed_column_of_names(project):
    """The function that is printed reads the column that looks most like a name."""
    await project.world.sql("create table leads (id bigint, city text, lead_name text)")
    try:
        code, findings = await project.check()
        await project.paste(findings["names"]["fix"])
        await project.world.sql("insert into leads values (1, 'Kyiv', 'Ann')")
        after = await project.until_well()
        (row,) = await project.world.sql("select tma_lead_name(1) as name")
    finally:
        await project.world.sql("drop table leads; drop function tma_lead_name(bigint)")
        await project.shell(
            '. ./.env && psql "$DATABASE_URL"'
            ' -f "$(realtime-bridge migrations)/20261101000300_claim_tma_events.sql"'
        )

    assert (code, findings["names"]["status"]) == (1, "failed")
    assert after["names"]["detail"] == "of leads come from public.tma_lead_name"
    assert row["name"] == "Ann"


async def test_a_database_without_the_schema(tmp_path):
    """The command that is printed applies the migrations with Supabase's own tool."""
    async with LocalStack() as bare, World.around(bare) as world:
        project = Project(world, tmp_path)

        code, findings = await project.check()
        await project.paste(findings["migrations"]["fix"])
        await world.sql("notify pgrst, 'reload schema'")
        await project.until_well()

    assert (code, findings["migrations"]["status"]) == (1, "failed")
    assert findings["publication"]["status"] == findings["realtime"]["status"] == "skipped"


async def test_the_anon_key_in_place_of_the_service_key(project):
    """Settings are wrong: exit 78, and a key of the narrow role takes its place."""
    project.configure(SUPABASE_KEY=project.world.stack.env()["SUPABASE_ANON_KEY"])

    code, findings = await project.check()
    await project.paste(findings["settings"]["fix"])
    after = await project.until_well()

    assert (code, list(findings)) == (78, ["settings"])
    assert "is the anon key" in findings["settings"]["detail"]
    assert "role tma_bridge" in after["key"]["detail"]


async def test_a_key_of_another_project(project):
    """Supabase answers, but does not know it."""
    project.configure(SUPABASE_KEY=signed("service_role", "a secret of quite another project"))

    code, findings = await project.check()
    await project.paste(findings["key"]["fix"])
    after = await project.until_well()

    assert code == 1
    assert (findings["supabase"]["status"], findings["key"]["status"]) == ("ok", "failed")
    assert findings["migrations"]["status"] == "skipped"
    assert after["key"]["status"] == "ok"


async def test_a_key_that_ends_soon_is_a_warning(project):
    """There is time to change it."""
    secret = project.world.stack.env()["SUPABASE_JWT_SECRET"]
    claims = {"role": "service_role", "exp": int(time.time()) + 86_400}
    project.configure(SUPABASE_KEY=jwt.encode(claims, secret, algorithm="HS256"))

    code, findings = await project.check()
    await project.paste(findings["key"]["fix"])
    _, after = await project.check()

    assert (code, findings["key"]["status"]) == (0, "warning")
    assert "expires in 1.0 days" in findings["key"]["detail"]
    assert f"put the new one into {project.env_file}" in findings["key"]["detail"]
    assert after["key"]["status"] == "ok"


async def test_the_key_says_when_it_ends_and_how_it_is_changed(project):
    """By where it is kept, which is a file here; an end that is no time is none."""
    secret = project.world.stack.env()["SUPABASE_JWT_SECRET"]
    file = project.folder / "key"
    project.configure(SUPABASE_KEY=None, SUPABASE_KEY_FILE=str(file))
    details = []
    for end in ({"exp": int(time.time()) + 100 * 86_400}, {}):
        claims = {"role": "service_role", **end}
        file.write_text(jwt.encode(claims, secret, algorithm="HS256"))
        _, findings = await project.check()
        details.append(findings["key"]["detail"])

    assert "expires in 100 days" in details[0]
    assert "does not expire" in details[1]
    assert all(f"write the new one to {file}; no restart" in detail for detail in details)


async def test_a_role_that_the_api_cannot_take_on(project):
    """As in a project whose migration was not allowed to grant it."""
    await project.shell('echo "SUPABASE_KEY=$(realtime-bridge token)" >> .env')
    await project.world.sql("revoke tma_bridge from authenticator")

    code, findings = await project.check()
    await project.paste(findings["key"]["fix"])
    await project.until_well()

    assert (code, findings["key"]["status"]) == (1, "failed")
    assert findings["key"]["fix"]["text"] == "grant tma_bridge to authenticator;"


async def test_a_wrong_bot_token(project):
    """Telegram answers 401; only BotFather has the right one."""
    await project.world.fault({"status": 401, "method": "getMe"})

    code, findings = await project.check()
    after = await project.until_well()

    assert (code, findings["telegram"]["status"]) == (1, "failed")
    assert "BotFather" in findings["telegram"]["fix"]["text"]
    assert after["telegram"]["status"] == "ok"


async def test_a_telegram_that_is_not_telegram(project):
    """A proxy's page, or nothing at all."""
    project.configure(TELEGRAM_API_URL="http://127.0.0.1:9")

    code, findings = await project.check()

    assert (code, findings["telegram"]["status"]) == (1, "failed")
    assert "does not answer" in findings["telegram"]["detail"]


async def test_realtime_stopped(project):
    """As the gateway answers for it; everything else is well, but nothing would ring."""
    project.world.stack.realtime.refuse(503)
    try:
        code, findings = await project.check()
    finally:
        project.world.stack.realtime.refuse(None)
    await project.until_well()

    assert (code, findings["realtime"]["status"]) == (1, "failed")
    assert "HTTP 503" in findings["realtime"]["detail"]
    assert findings["realtime"]["fix"]["text"].startswith("docker restart")
    assert [name for name, one in findings.items() if one["status"] != "ok"] == ["realtime"]


async def test_a_deaf_realtime(project):
    """It answers every join and delivers nothing: only a row there and back can tell."""
    project.world.stack.realtime.pause_changes()
    project.world.stack.realtime.pause_broadcasts()
    try:
        code, findings = await project.check()
    finally:
        project.world.stack.realtime.pause_changes(paused=False)
        project.world.stack.realtime.pause_broadcasts(paused=False)

    assert (code, findings["realtime"]["status"]) == (1, "failed")
    assert "nothing rang" in findings["realtime"]["detail"]


async def test_one_deaf_bell_is_a_warning(project):
    """The other one suffices, but it is not how it was meant."""
    project.world.stack.realtime.pause_changes()
    try:
        code, findings = await project.check()
    finally:
        project.world.stack.realtime.pause_changes(paused=False)

    assert (code, findings["realtime"]["status"]) == (0, "warning")
    assert "changes: silent" in findings["realtime"]["detail"]


async def test_postgrest_stopped(project):
    """What cannot be known is not guessed."""
    await project.world.stack.postgrest.stop()
    try:
        code, findings = await project.check()
    finally:
        await project.world.stack.postgrest.start()

    assert (code, findings["supabase"]["status"]) == (1, "failed")
    assert findings["telegram"]["status"] == "ok"
    assert {findings[name]["status"] for name in ("key", "migrations", "realtime", "names")} == {
        "skipped"
    }


@pytest.mark.parametrize(("off_by", "status"), [(300, "failed"), (-300, "failed"), (10, "warning")])
async def test_a_clock_that_is_off(project, off_by, status):
    """Keys end, and today becomes tomorrow, by this machine's clock."""
    settings = load({}, project.env_file)

    findings = {
        finding.name: finding
        async for finding in examine(settings, Fixes({}), now=lambda: time.time() + off_by)
    }

    assert findings["clock"].status is Status(status)
    seconds, direction = re.search(r"(\d+) s (ahead of|behind)", findings["clock"].detail).groups()
    assert abs(int(seconds) - abs(off_by)) < 5
    assert direction == ("ahead of" if off_by > 0 else "behind")
    assert "set-ntp" in findings["clock"].fix.text


async def test_an_address_that_is_not_supabase(project):
    """Somebody answers, but with 404."""
    project.configure(SUPABASE_URL=f"{project.world.stack.url}/elsewhere")

    code, findings = await project.check()

    assert (code, findings["supabase"]["status"]) == (1, "failed")
    assert "SUPABASE_URL" in findings["supabase"]["fix"]["text"]


async def test_all_wrong_settings_come_at_once(project):
    """Each with what to do about it."""
    project.configure(BOT_TOKEN="hunter2", SUPABASE_URL="abcdefgh", SUPABASE_JWT_SECRET=None)
    said = []

    code = await run_check(project.env_file, as_json=False, echo=said.append)

    assert code == 78
    assert len(said) == 2
    assert all(line.startswith("FAIL  settings") and "fix (" in line for line in said)
    assert "hunter2" not in "".join(said)


async def test_templates_that_cannot_be_used(project):
    """Check finds what run would stop at."""
    folder = project.folder / "templates" / "en"
    folder.mkdir(parents=True)
    (folder / "step_completed.html").write_text("{{ unclosed")
    project.configure(TEMPLATES_DIR=str(folder.parent))

    code, findings = await project.check()

    assert code == 78
    assert findings["settings"]["detail"].startswith("TEMPLATES_DIR cannot be used")
    assert "step_completed.html" in findings["settings"]["detail"]


async def test_a_planner_that_cannot_be_imported(project):
    """The same for users' own code."""
    project.configure(PLANNER="no_such_module:plan")

    code, findings = await project.check()

    assert code == 78
    assert "no_such_module" in findings["settings"]["detail"]


async def test_a_bot_that_is_not_registered_yet(project):
    """It is no failure: the first start of the bridge does it."""
    await project.world.sql("delete from bridge.bot_keys")

    code, before = await project.check()
    await project.register_bot()
    _, after = await project.check()

    assert (code, before["mini-app"]["status"]) == (0, "skipped")
    assert "no bot is registered yet" in before["mini-app"]["detail"]
    assert after["mini-app"]["status"] == "ok"
    assert "once `realtime-bridge run` has registered it" in before["telegram"]["detail"]
    assert "registered" not in after["telegram"]["detail"]


async def test_a_bot_that_somebody_else_registered(project):
    """Whoever had the bridge's key may speak for any user since; its owner sees by whom."""
    await project.world.sql("select register_tma_bot(666, %s)", "ab" * 32)

    code, findings = await project.check()

    assert code == 0  # two bots may share a database
    assert "users of other bots write too, by id: 666" in findings["telegram"]["detail"]


async def test_an_env_file_that_is_not_there(tmp_path):
    """Named by --env-file, so it was meant."""
    said = []

    code = await run_check(tmp_path / "nowhere", as_json=False, echo=said.append)

    assert code == 78
    assert "there is no env file" in said[0]


async def test_the_narrow_key_without_one_for_the_gateway(project):
    """The gateway refuses a JWT of a role of ours; the key it wants goes into SUPABASE_ANON_KEY."""
    await project.shell('echo "SUPABASE_KEY=$(realtime-bridge token)" >> .env')
    text = project.env_file.read_text()
    project.env_file.write_text(re.sub("^SUPABASE_ANON_KEY=.*\n", "", text, flags=re.MULTILINE))

    code, findings = await project.check()
    project.env_file.write_text(text)
    mended, after = await project.check()

    assert (code, findings["key"]["status"]) == (1, "failed")
    assert "SUPABASE_ANON_KEY" in findings["key"]["fix"]["text"]
    assert (mended, after["realtime"]["status"]) == (0, "ok")
