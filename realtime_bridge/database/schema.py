"""The migrations that come with the package, and which of them makes what."""

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Part:
    """One of our small files: `name` stays the same when it is stamped anew."""

    file: str
    text: str

    @property
    def name(self) -> str:
        """What it is about, such as claim_tma_events."""
        return Path(self.file).stem.partition("_")[2]


def migrations_directory() -> Path:
    """Where the migrations are, installed or checked out."""
    package = Path(str(files("realtime_bridge")))
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "supabase" / "migrations"


def schema_parts() -> list[Part]:
    """All of the schema, in the order in which it is applied."""
    paths = sorted(migrations_directory().glob("*.sql"))
    return [Part(path.name, path.read_text(encoding="utf-8")) for path in paths]


def migration_of(function: str) -> Path | None:
    """Return the migration that makes `public.<function>`; the last one, if several do."""
    made = re.compile(
        rf"^\s*create (or replace )?function public\.{re.escape(function)}\(", re.MULTILINE
    )
    makers = [part for part in schema_parts() if made.search(part.text)]
    return migrations_directory() / makers[-1].file if makers else None
