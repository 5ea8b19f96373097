"""The migrations that come with the package, and which of them makes what."""

import filecmp
import re
import shutil
from importlib.resources import files
from pathlib import Path


def directory() -> Path:
    """Where the migrations are, installed or checked out."""
    package = Path(str(files("realtime_bridge")))
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "supabase" / "migrations"


def file_of(function: str) -> Path | None:
    """Return the migration that makes `public.<function>`; the last one, if several do."""
    made = re.compile(
        rf"^\s*create (or replace )?function public\.{re.escape(function)}\(", re.MULTILINE
    )
    makers = [path for path in sorted(directory().glob("*.sql")) if made.search(path.read_text())]
    return makers[-1] if makers else None


def copy_to(target: Path) -> list[Path]:
    """Copy the migrations that `target` does not have yet; return the new files.

    Raises FileExistsError, and copies nothing, where a file of the same name says something else.
    """
    target.mkdir(parents=True, exist_ok=True)
    new = []
    for source in sorted(directory().glob("*.sql")):
        copy = target / source.name
        if not copy.exists():
            new.append((source, copy))
        elif not filecmp.cmp(source, copy, shallow=False):
            raise FileExistsError(str(copy))
    return [Path(shutil.copyfile(source, copy)) for source, copy in new]
