"""The migrations that come with the package, and which of them creates what."""

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SchemaPart:
    """One of our migration files. Its `name` stays the same when it gets another version."""

    file: str
    text: str

    @property
    def name(self) -> str:
        """The file's name without version and suffix, such as claim_tma_events."""
        return Path(self.file).stem.partition("_")[2]


def migrations_directory() -> Path:
    """The folder of the migrations, in an installed package or a checkout."""
    package = Path(str(files("realtime_bridge")))
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "supabase" / "migrations"


def schema_parts() -> list[SchemaPart]:
    """The whole schema, in the order in which it is applied."""
    paths = sorted(migrations_directory().glob("*.sql"))
    return [SchemaPart(path.name, path.read_text(encoding="utf-8")) for path in paths]


def migration_of(function: str) -> Path | None:
    """Find the migration that creates `public.<function>`; the last one if several do."""
    creates = re.compile(
        rf"^\s*create (or replace )?function public\.{re.escape(function)}\(", re.MULTILINE
    )
    found = [part for part in schema_parts() if creates.search(part.text)]
    return migrations_directory() / found[-1].file if found else None
