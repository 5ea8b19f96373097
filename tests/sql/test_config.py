"""supabase/config.toml, for `npx supabase start` in a clone: the CLI takes it, and it is ours."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLI = ROOT / "node_modules" / ".bin" / "supabase"
CONFIG = ROOT / "supabase" / "config.toml"

pytestmark = pytest.mark.skipif(not CLI.exists(), reason="needs the Supabase CLI: make install")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What of a clone the CLI reads."""
    shutil.copytree(ROOT / "supabase" / "migrations", tmp_path / "supabase" / "migrations")
    shutil.copy(CONFIG, tmp_path / "supabase")
    return tmp_path


def supabase(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the CLI there."""
    return subprocess.run(
        [CLI, *words],
        cwd=folder,
        env={**os.environ, "SUPABASE_TELEMETRY_DISABLED": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_cli_takes_it(clone: Path, platform_db: str) -> None:
    """And finds every migration beside it."""
    names = sorted(path.name for path in (clone / "supabase" / "migrations").iterdir())

    told = supabase(
        clone, "db", "push", "--dry-run", "--yes", f"--remote={platform_db}?sslmode=disable"
    )

    output = told.stdout + told.stderr
    assert told.returncode == 0, output
    assert "arning" not in output
    assert [name for name in names if name not in output] == []


@pytest.mark.parametrize("key", ["auto_expose_new_tables", "enabled"])
def test_the_cli_would_say_if_it_were_wrong(clone: Path, platform_db: str, key: str) -> None:
    """So what it takes without a word, it has read."""
    file = clone / "supabase" / "config.toml"
    lines = [
        f"{key} = 'nonsense'" if line.startswith(f"{key} =") else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines))

    told = supabase(clone, "migration", "list", f"--remote={platform_db}?sslmode=disable")

    assert told.returncode != 0
    assert key in told.stdout + told.stderr


def test_it_differs_from_the_defaults_only_where_it_says(tmp_path: Path) -> None:
    """A line that repeats a default would hide a better one of a later CLI."""
    assert supabase(tmp_path, "init").returncode == 0
    theirs = tomllib.loads((tmp_path / "supabase" / "config.toml").read_text())
    ours = tomllib.loads(CONFIG.read_text())

    assert ours.pop("project_id") == "realtime-bridge"
    assert ours["api"].pop("auto_expose_new_tables") is False
    assert "auto_expose_new_tables" not in theirs["api"]
    for table, values in flat(ours):
        assert (table, values) not in flat(theirs)
        assert table in {known for known, _ in flat(theirs)}


def flat(table: dict[str, object], name: str = "") -> list[tuple[str, object]]:
    """All settings with their full names."""
    found: list[tuple[str, object]] = []
    for key, value in table.items():
        full = f"{name}.{key}" if name else key
        found += flat(value, full) if isinstance(value, dict) else [(full, value)]
    return found
