"""Write the Mini App's database types as `supabase gen types` makes them of the schema.

Run by `make types`; a test compares the file with what this would write.
"""

import os
import subprocess
from pathlib import Path

from realtime_bridge.database import migrations_directory
from tma_sandbox import migrations
from tma_sandbox.postgres import Postgres

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "node_modules" / ".bin"
MINI_APP = ROOT / "examples" / "mini-app"
TYPES = MINI_APP / "src" / "database.types.ts"


def generate(dsn: str) -> str:
    """The types of the schema `public` of this database, formatted as the Mini App's code is."""
    # The CLI prints them on one long line per table, and advises oxfmt.
    made = _run("supabase", "gen", "types", "typescript", "--schema=public", f"--remote={dsn}")
    return _run("oxfmt", "-c", MINI_APP / ".oxfmtrc.json", "--stdin-filepath", TYPES, text=made)


def _run(program: str, *arguments: str | Path, text: str = "") -> str:
    done = subprocess.run(  # noqa: S603 (programs of our own package.json)
        [PROGRAMS / program, *arguments],
        cwd=ROOT,
        env={**os.environ, "SUPABASE_TELEMETRY_DISABLED": "1"},
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{program} failed:\n{done.stderr or done.stdout}")
    return done.stdout


def main() -> None:
    """Write the file from a database that has all migrations."""
    with Postgres() as cluster:
        dsn = cluster.create_database("types")
        migrations.apply(dsn, migrations_directory())
        TYPES.write_text(generate(f"{dsn}?sslmode=disable"), encoding="utf-8")


if __name__ == "__main__":
    main()
