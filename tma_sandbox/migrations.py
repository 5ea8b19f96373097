"""Applies migrations as the Supabase CLI does: same files, same order, same history."""

import re
from pathlib import Path

import psycopg

from tma_sandbox.errors import StackError

_NAME = re.compile(r"^(\d+)_(.*)\.sql$")
_HISTORY = """
    create schema if not exists supabase_migrations;
    create table if not exists supabase_migrations.schema_migrations (
        version text not null primary key
    );
    alter table supabase_migrations.schema_migrations add column if not exists statements text[];
    alter table supabase_migrations.schema_migrations add column if not exists name text;
"""


def apply(dsn: str, directory: Path) -> list[str]:
    """Apply the migrations in `directory` that the database does not have; return their versions.

    Each file is one transaction, which also records it. Raises StackError if a file fails, and,
    as `supabase db push` does, if files and history disagree: a recorded version has no file, or a
    new file is older than the last recorded one.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set client_min_messages = warning")
        with connection.transaction():
            connection.execute(_HISTORY)
        recorded = [
            version
            for (version,) in connection.execute(
                "select version from supabase_migrations.schema_migrations order by version"
            )
        ]
        pending = outstanding(recorded, sorted(directory.glob("*.sql")))
        for path in pending:
            _apply_file(connection, path)
        return [_version(path) for path in pending]


def outstanding(recorded: list[str], paths: list[Path]) -> list[Path]:
    """The migrations among `paths` (sorted by name) that are not `recorded` yet."""
    local = [path for path in paths if _NAME.match(path.name)]
    versions = [_version(path) for path in local]
    if missing := [version for version in recorded if version not in versions]:
        raise StackError(
            "the database has migrations that have no file here: " + ", ".join(missing)
        )
    new = [path for path in local if _version(path) not in recorded]
    if late := [path.name for path in new if _version(path) < max(recorded, default="")]:
        raise StackError(
            f"migrations older than the last one in the database: {', '.join(late)}; give them "
            "a newer version number, or apply them with `supabase db push --include-all`"
        )
    return new


def _version(path: Path) -> str:
    return path.name.partition("_")[0]


def _apply_file(connection: psycopg.Connection, path: Path) -> None:
    text = path.read_text()
    try:
        with connection.transaction():
            connection.execute(text.encode())
            connection.execute(
                "insert into supabase_migrations.schema_migrations (version, name, statements)"
                " values (%s, %s, %s)",
                [_version(path), path.stem.partition("_")[2], [text]],
            )
    except psycopg.Error as error:
        raise StackError(f"migration {path.name} failed: {error}") from error
