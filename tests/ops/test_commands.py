"""The commands as an operator starts them."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata

import jwt
import pytest

from realtime_bridge.credentials import tokens
from realtime_bridge.database import schema
from tests.integration.kit import Process
from tests.signing_keys import jwk, public_half

LAZY = """
import sys
from realtime_bridge.cli import main
sys.argv = ["realtime-bridge", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"aiogram", "supabase", "psycopg"} & sys.modules.keys()
    print("imported", sorted(heavy))
"""
SECRET = "a-secret-that-is-long-enough-for-hs256"


@pytest.fixture
def run(tmp_path):
    """Run a command to its end in an empty folder; its exit code and what it said."""

    async def run_one(*arguments, env=None, code=None):
        process = await Process.start(*arguments, cwd=tmp_path, env=env, code=code)
        return await process.ended(), process.output

    return run_one


async def test_check_prints_fixes_that_can_be_copied(run, world):
    """One line for each dependency; the fix stands alone on its line."""
    await world.sql("alter table tma_events disable row level security")

    try:
        code, output = await run("check", env=world.environment())
    finally:
        await world.sql("alter table tma_events enable row level security")

    assert code == 1
    lines = output.splitlines()
    assert lines[0].startswith("ok    settings")
    assert "alter table public.tma_events enable row level security;" in lines
    assert "\x1b" not in output


@pytest.mark.parametrize(
    ("command", "imported"),
    [
        ("check", ["supabase"]),  # with which it does what a Mini App does
        ("status", []),
        ("tail --no-follow", []),
        ("--help", []),
    ],
)
async def test_commands_import_only_what_they_need(run, world, command, imported):
    """Importing aiogram takes seconds; these answer at once."""
    code = f"import sys; sys.argv[1:] = {command.split()!r}\n{LAZY}"

    exit_code, output = await run(env=world.environment(), code=code)

    assert exit_code == 0, output
    assert output.splitlines()[-1] == f"imported {imported}"


async def test_a_running_bridge_does_without_heavy_libraries(run):
    """Nine megabytes of cryptography are there to sign a token, and 50 of supabase for nothing."""
    code = """
import sys
import realtime_bridge.bridge, realtime_bridge.telegram.sender, realtime_bridge.messages.renderer
print(sorted({"aiogram", "cryptography", "jwt", "supabase"} & sys.modules.keys()))
"""

    exit_code, output = await run(code=code)

    assert exit_code == 0, output
    assert output.splitlines()[-1] == "['aiogram']"


async def test_configuration_that_is_wrong_ends_with_78(run):
    """Whatever the command, and with every problem at once."""
    for command in ("check", "status", "tail", "retry --failure blocked", "run"):
        code, output = await run(*command.split())

        assert code == 78, output
        for name in ("SUPABASE_URL", "SUPABASE_KEY", "BOT_TOKEN"):
            assert f"{name} is not set" in output
        assert "Traceback" not in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("retry", "say which rows"),
        ("retry --since yesterdayish", "is no time"),
        ("retry --failure bored", "is not one of"),
        ("tail --since soon", "is no span of time"),
    ],
)
async def test_arguments_that_are_wrong_are_explained(run, world, arguments, says):
    """Before anything is asked or done."""
    code, output = await run(*arguments.split(), env=world.environment())

    assert code == 2
    assert says in output


async def test_retry_without_a_terminal_sends_nothing_again(run, world):
    """Nobody can say yes, so the answer is no."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type, status, failure, settled_at)"
        " values (1, 'x', 'failed', 'uncertain', now()), (2, 'x', 'failed', 'blocked', now())"
    )

    code, output = await run("retry", "--since", "1h", env=world.environment())
    rows = await world.sql("select status from tma_events")

    assert code == 1
    assert "may have been sent already" in output
    assert {row["status"] for row in rows} == {"failed"}


async def test_a_token_opens_the_bridges_functions(run, world):
    """Minted from the project's secret, good for a year, and for nothing but the bridge."""
    environment = world.environment()
    secret = environment["SUPABASE_JWT_SECRET"]

    code, output = await run("token", env={"SUPABASE_JWT_SECRET": secret, "SUPABASE_ANON_KEY": "x"})
    key = output.strip()
    checked, report = await run("check", env={**environment, "SUPABASE_KEY": key})

    claims = jwt.decode(key, secret, algorithms=["HS256"])
    assert (code, checked) == (0, 0), report
    assert claims["role"] == "tma_bridge"
    assert timedelta(days=364) < timedelta(seconds=claims["exp"] - claims["iat"]) <= timedelta(365)
    assert "role tma_bridge" in report


async def test_a_token_says_that_the_gateway_wants_more(run):
    """On the error stream, so that the key can be piped."""
    code, output = await run("token", env={"SUPABASE_JWT_SECRET": SECRET})

    assert code == 0
    assert "SUPABASE_ANON_KEY" in output


async def test_a_token_of_a_signing_key(run, tmp_path):
    """Signed with the file's key, whatever JWT secret is set; what is wrong with a file is said."""
    key = jwk("ES256")
    (tmp_path / "good.json").write_text(json.dumps(key))
    (tmp_path / "public.json").write_text(json.dumps(public_half(key)))
    env = {"SUPABASE_JWT_SECRET": SECRET, "SUPABASE_ANON_KEY": "x"}

    code, output = await run("token", "--signing-key", "good.json", env=env)
    refused, says = await run("token", "--signing-key", "public.json", env=env)

    claims = jwt.decode(output.strip(), jwt.PyJWK(public_half(key)).key, ["ES256"])
    assert (code, claims["role"]) == (0, "tma_bridge")
    assert jwt.get_unverified_header(output.strip())["kid"] == key["kid"]
    assert refused == 78
    assert "the signing key public.json has the public half only" in says
    assert "Traceback" not in says


async def test_a_token_needs_the_projects_secret(run):
    """It says where that is."""
    code, output = await run("token")

    assert code == 78
    assert "SUPABASE_JWT_SECRET is not set" in output


@pytest.mark.parametrize("secret", ["short", "sb_secret_" + "0" * 30, "eyJ" * 20])
def test_what_is_no_secret_is_refused(secret):
    """Signing with an API key makes a key that opens nothing."""
    with pytest.raises(ValueError, match="SUPABASE_JWT_SECRET"):
        tokens.mint(secret, now=datetime.now(UTC), lifetime=timedelta(days=1))


def test_the_secret_may_be_in_a_file(tmp_path):
    """As every other secret may."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")

    assert tokens.secret_of({"SUPABASE_JWT_SECRET_FILE": str(tmp_path / "secret")}) == SECRET
    with pytest.raises(ValueError, match="cannot be read"):
        tokens.secret_of({"SUPABASE_JWT_SECRET_FILE": str(tmp_path / "nowhere")})


async def test_migrations_come_in_one_file(run, tmp_path):
    """Made now, in a folder that is made too; a second time there is nothing to write."""
    before = datetime.now(UTC).replace(microsecond=0)
    code, output = await run("migrations", "supabase/migrations")
    again = await run("migrations", "supabase/migrations")

    (file,) = (tmp_path / "supabase" / "migrations").iterdir()
    stamp, _, name = file.name.partition("_")
    release = metadata.version("realtime-bridge")
    assert (code, output) == (0, f"1 new: supabase/migrations/{file.name}\n")
    assert name == f"realtime_bridge_{release.replace('.', '_')}.sql"
    assert before <= datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    assert again == (0, f"0 new: version {release} is there\n")


async def test_migrations_say_what_is_new_and_what_was_changed(run, tmp_path):
    """Exit code 0, so that what follows the command goes on."""
    first, second, *rest = schema.schema_parts()
    for part in rest:
        (tmp_path / part.file).write_text(part.text)
    (tmp_path / second.file).write_text("-- mine")

    code, output = await run("migrations", ".")

    (written,) = tmp_path.glob("*_realtime_bridge_*.sql")
    written.write_text(f"{written.read_text()}-- and mine")
    _, changed = await run("migrations", ".")
    assert code == 0
    assert output.splitlines() == [
        f"{second.file} is not as this release has it; it stays as it is",
        f"1 new: {written.name} ({first.name}, {second.name})",
    ]
    assert f"{written.name} was changed since version" in changed
    assert changed.splitlines()[-1].startswith("0 new: ")
    assert (tmp_path / second.file).read_text() == "-- mine"


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("taken", "is a file"),
        ("taken/below", "taken/below: Not a directory; nothing was written"),
        ("last", "no migration can follow version 99999999999999"),
        ("full", "full: File too large; nothing was written"),
    ],
)
async def test_a_folder_that_cannot_be_written(run, tmp_path, folder, says):
    """What is wrong with which, and nothing of ours in it."""
    (tmp_path / "taken").touch()
    for name in ("last", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "last" / "99999999999999_x.sql").touch()
    code = f"""
import resource, sys
from realtime_bridge.cli import main
sys.argv = ["realtime-bridge", "migrations", {folder!r}]
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
main()
"""

    exit_code, output = await run(code=code)

    assert exit_code in {1, 2}
    assert says in output
    assert "Traceback" not in output
    assert not list(tmp_path.rglob("*_realtime_bridge_*"))


def test_python_m_is_the_same_command():
    """`python -m realtime_bridge`."""
    shown = subprocess.run(
        [sys.executable, "-m", "realtime_bridge", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )

    for command in ("run", "check", "status", "tail", "retry", "token", "migrations", "demo"):
        assert f"  {command} " in shown.stdout


async def test_run_stops_at_templates_that_cannot_be_used(run, world, tmp_path):
    """Before anything is claimed, with the file and what is wrong in it."""
    folder = tmp_path / "templates" / "en"
    folder.mkdir(parents=True)
    (folder / "step_completed.html").write_text("{{ unclosed")

    code, output = await run("run", env=world.environment(TEMPLATES_DIR=str(folder.parent)))

    assert code == 78
    assert "TEMPLATES_DIR cannot be used" in output
    assert "step_completed.html" in output
    assert "Traceback" not in output
