"""The commands as an operator starts them."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from realtime_bridge import schema, tokens
from tests.integration.kit import Process

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
    ("command", "expected"), [("check", 0), ("status", 0), ("tail --no-follow", 0), ("--help", 0)]
)
async def test_commands_import_only_what_they_need(run, world, command, expected):
    """Importing aiogram takes seconds; these answer at once."""
    code = f"import sys; sys.argv[1:] = {command.split()!r}\n{LAZY}"

    exit_code, output = await run(env=world.environment(), code=code)

    assert exit_code == expected, output
    assert output.splitlines()[-1] == "imported []"


async def test_a_running_bridge_does_without_heavy_libraries(run):
    """Nine megabytes of cryptography are there to sign a token, and 50 of supabase for nothing."""
    code = """
import sys
import realtime_bridge.service, realtime_bridge.telegram, realtime_bridge.messages
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


async def test_migrations_are_copied_once(run, tmp_path):
    """A second time there is nothing to copy."""
    first = await run("migrations", "supabase/migrations")
    second = await run("migrations", "supabase/migrations")

    copied = sorted(path.name for path in (tmp_path / "supabase" / "migrations").iterdir())
    assert copied == sorted(path.name for path in schema.directory().glob("*.sql"))
    assert first == (0, f"{len(copied)} migrations copied to supabase/migrations\n")
    assert second == (0, "0 migrations copied to supabase/migrations\n")


async def test_migrations_that_were_changed_are_kept(run, tmp_path):
    """Nothing is overwritten, and nothing is half copied."""
    mine = tmp_path / next(schema.directory().glob("*.sql")).name
    mine.write_text("-- mine")

    code, output = await run("migrations", ".")

    assert code == 1
    assert "differs" in output
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]


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
