"""Migrations are applied as the Supabase CLI applies them."""

import subprocess
from pathlib import Path

import psycopg
import pytest

from realtime_bridge.database import migrations_directory
from tma_sandbox import migrations
from tma_sandbox.errors import StackError

CLI = Path(__file__).parents[2] / "node_modules" / ".bin" / "supabase"

TRICKY = {
    "20250101000000_first.sql": (
        "create table public.a (id bigint primary key, t text default 'x;y'); -- a; comment\n"
        "create function public.f() returns int language plpgsql as $$ begin return 1; end $$;"
    ),
    "20250101000001_an_index.sql": "create index on public.a (t)",
    "notes.sql": "this is no migration",
}


@pytest.fixture
def project(tmp_path):
    """A Supabase project with difficult migrations."""
    write(tmp_path, TRICKY)
    return tmp_path


def write(project: Path, texts: dict[str, str]) -> Path:
    """Write migrations into a project; return their directory."""
    directory = project / "supabase" / "migrations"
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text)
    return directory


def push(dsn: str, project: Path) -> subprocess.CompletedProcess:
    """Apply a project's migrations with the real CLI."""
    return subprocess.run(
        [CLI, "db", "push", "--yes", "--remote", dsn],
        cwd=project,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


def schema(postgres, dsn: str) -> str:
    """The schema as pg_dump writes it, without its random key."""
    dump = subprocess.run(
        [postgres.tool("pg_dump"), "--schema-only", dsn], capture_output=True, text=True, check=True
    ).stdout
    lines = dump.splitlines()
    return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def recorded(dsn: str) -> list[tuple]:
    """The applied versions according to the history."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "select version, name from supabase_migrations.schema_migrations order by version"
        ).fetchall()


def exists(dsn: str, name: str) -> bool:
    """Whether a relation exists."""
    with psycopg.connect(dsn) as connection:
        return connection.execute("select to_regclass(%s)", [name]).fetchone() != (None,)


@pytest.fixture
def second_db(postgres):
    """Another fresh platform database, to compare with the first."""
    yield postgres.create_database("second_db")
    postgres.drop_database("second_db")


@pytest.mark.parametrize("shipped", [True, False], ids=["shipped", "tricky"])
def test_the_cli_and_the_stack_make_the_same_schema(
    postgres, platform_db, second_db, tmp_path, shipped
):
    """The two databases are the same."""
    ours = {path.name: path.read_text() for path in migrations_directory().glob("*.sql")}
    directory = write(tmp_path, ours if shipped else TRICKY)

    applied = migrations.apply(platform_db, directory)
    pushed = push(second_db, tmp_path)

    assert pushed.returncode == 0, pushed.stderr
    assert len(applied) > 1
    assert recorded(platform_db) == recorded(second_db)
    assert [version for version, _ in recorded(platform_db)] == applied
    assert schema(postgres, platform_db) == schema(postgres, second_db)


def test_the_cli_finds_nothing_left_to_do(platform_db, project):
    """The CLI can take over a database that the stack migrated."""
    migrations.apply(platform_db, project / "supabase" / "migrations")

    pushed = push(platform_db, project)

    assert pushed.returncode == 0
    assert "Applying" not in pushed.stdout + pushed.stderr


def test_only_new_migrations_are_applied(platform_db, project):
    """Applying again changes nothing; a new file is applied."""
    directory = project / "supabase" / "migrations"
    first = migrations.apply(platform_db, directory)
    again = migrations.apply(platform_db, directory)
    write(project, {"20250101000002_more.sql": "create table public.more ()"})
    later = migrations.apply(platform_db, directory)

    assert (first, again, later) == (
        ["20250101000000", "20250101000001"],
        [],
        ["20250101000002"],
    )


def test_a_failing_migration_leaves_nothing_and_is_named(platform_db, project):
    """Each file is one transaction; earlier ones stay applied."""
    directory = write(
        project, {"20250101000002_bad.sql": "create table public.half (); select 1/0;"}
    )

    with pytest.raises(StackError, match=r"20250101000002_bad\.sql failed: division by zero"):
        migrations.apply(platform_db, directory)

    assert not exists(platform_db, "public.half")
    assert exists(platform_db, "public.a")
    assert len(recorded(platform_db)) == 2


def test_an_older_file_is_refused_as_the_cli_does(platform_db, project):
    """Applying migrations out of order is left to the operator."""
    directory = project / "supabase" / "migrations"
    migrations.apply(platform_db, directory)
    write(project, {"20240101000000_late.sql": "create table public.late ()"})

    pushed = push(platform_db, project)
    with pytest.raises(StackError, match="20240101000000_late"):
        migrations.apply(platform_db, directory)

    assert pushed.returncode == 1
    assert not exists(platform_db, "public.late")


def test_a_recorded_version_without_a_file_is_refused_as_the_cli_does(platform_db, project):
    """A database that is ahead of the files is left alone."""
    directory = project / "supabase" / "migrations"
    migrations.apply(platform_db, directory)
    (directory / "20250101000001_an_index.sql").unlink()

    pushed = push(platform_db, project)
    with pytest.raises(StackError, match="no file here: 20250101000001"):
        migrations.apply(platform_db, directory)

    assert pushed.returncode == 1
