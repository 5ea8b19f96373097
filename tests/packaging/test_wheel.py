"""The wheel and the source archive."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

from tests.packaging.conftest import REPOSITORY

VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Both, built from this checkout."""
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(target)],
        check=True,
        cwd=REPOSITORY,
        capture_output=True,
    )
    return target


@pytest.fixture(scope="module")
def wheel(built):
    """The names in the wheel."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        return set(archive.namelist())


def test_the_wheel_has_what_is_not_code(wheel):
    """Migrations, templates of both languages, the playbook, and the mark of being typed."""
    migrations = {path.name for path in (REPOSITORY / "supabase" / "migrations").glob("*.sql")}
    package = REPOSITORY / "realtime_bridge"
    data = {
        str(path.relative_to(REPOSITORY))
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }

    assert {f"realtime_bridge/migrations/{name}" for name in migrations} <= wheel
    assert data <= wheel
    assert any(name.startswith("realtime_bridge/messages/locales/uk/") for name in wheel)
    assert "realtime_bridge/py.typed" in wheel


def test_the_wheel_has_nothing_else(wheel):
    """No tests, no examples, no folder of the repository."""
    assert {name.partition("/")[0] for name in wheel} == {
        "realtime_bridge",
        f"realtime_bridge-{VERSION}.dist-info",
    }


def test_the_source_archive_makes_the_same_wheel(built, wheel, tmp_path):
    """Whoever builds it for himself gets no less."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        check=True,
        cwd=source,
        capture_output=True,
    )

    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as archive:
        assert set(archive.namelist()) == wheel


def test_a_clean_environment_can_install_and_use_it(built, clean, tmp_path):
    """As pipx does: the command, the migrations, and the types are there."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    wheel = next(built.glob("*.whl"))

    def run(*words):
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, cwd=tmp_path, env=clean
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(venv / "bin" / "pip", "install", wheel)
    version = run(venv / "bin" / "realtime-bridge", "--version")
    folder = run(venv / "bin" / "realtime-bridge", "migrations").strip()
    public = run(
        venv / "bin" / "python", "-c", "from realtime_bridge import *; print(Bridge, TmaEvent)"
    )

    assert VERSION in version
    assert folder.startswith(str(venv))
    assert "realtime_bridge.bridge.Bridge" in public
