"""What Supabase's own tools say of the migrated database, on the older PostgreSQL that it knows."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from realtime_bridge.database import migrations_directory
from tma_sandbox import migrations
from tma_sandbox.postgres import Postgres

ROOT = Path(__file__).parents[2]
CLI = ROOT / "node_modules" / ".bin" / "supabase"
DEBIAN = Path("/usr/lib/postgresql/15")

pytestmark = [
    pytest.mark.skipif(
        not (DEBIAN / "lib" / "plpgsql_check.so").exists(),
        reason="needs Debian's postgresql-15 and postgresql-15-plpgsql-check",
    ),
    pytest.mark.skipif(not CLI.exists(), reason="needs the Supabase CLI: make install"),
]


@pytest.fixture(scope="module")
def linted() -> Iterator[str]:
    """The DSN of a migrated database of PostgreSQL 15, in which functions can be checked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMA_SANDBOX_PG_BIN", str(DEBIAN / "bin"))
        yield from _linted()


def _linted() -> Iterator[str]:
    with Postgres() as cluster:
        dsn = cluster.create_database("linted")
        migrations.apply(dsn, migrations_directory())
        admin = cluster.dsn("linted", "supabase_admin")
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("create extension plpgsql_check schema extensions")
        yield admin


@pytest.mark.parametrize(
    ("command", "level", "clean"),
    [("lint", "warning", "No schema errors found"), ("advisors", "warn", "No issues found")],
)
def test_supabase_finds_nothing(linted: str, command: str, level: str, clean: str) -> None:
    """No warning, no error, in any schema of ours."""
    found = subprocess.run(
        [
            CLI,
            "db",
            command,
            f"--remote={linted}?sslmode=disable",
            f"--level={level}",
            f"--fail-on={level}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert found.returncode == 0, found.stdout + found.stderr
    assert clean in found.stdout + found.stderr
