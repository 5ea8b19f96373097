"""The wheel and the source archive."""

import asyncio
import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

from tests.integration.kit import Process
from tests.ops.test_docs import LINK, anchors
from tests.packaging.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Both: those in the folder DIST, which are to be released, or built from this checkout."""
    if given := os.environ.get("DIST"):
        return REPOSITORY / given
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


@pytest.fixture(scope="module")
def metadata(built):
    """What the wheel says of itself, and PyPI shows."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        text = archive.read(f"realtime_bridge-{VERSION}.dist-info/METADATA")
    return email.message_from_bytes(text)


def test_the_files_are_of_this_version(built):
    """One of each kind, so that nothing else gets published by the way."""
    assert {path.name for path in built.iterdir()} - {".gitignore"} == {
        f"realtime_bridge-{VERSION}-py3-none-any.whl",
        f"realtime_bridge-{VERSION}.tar.gz",
    }


def test_pypi_links_to_the_repository(metadata):
    """To what people look for, under names that PyPI knows."""
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))

    assert urls == PROJECT["urls"]
    assert urls.keys() == {"Repository", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(urls["Repository"]) for url in urls.values())


def test_links_on_pypi_lead_somewhere(metadata):
    """The README's own links are the repository's as of the release, with files that there are."""
    page = metadata.get_payload(decode=True).decode()
    ours = re.compile(rf"{PROJECT['urls']['Repository']}/(blob|raw)/v{VERSION}/([^#]+)#?(.*)")
    found = [ours.fullmatch(target) for target in LINK.findall(page)]
    links = [match.groups() for match in found if match]

    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert all(re.match(r"https://|#", target) for target in LINK.findall(page))
    assert len(links) >= 15
    for kind, path, anchor in links:
        assert (REPOSITORY / path).is_file()
        assert kind == ("raw" if path.endswith((".png", ".svg")) else "blob")
        assert not anchor or anchor in set(anchors(REPOSITORY / path))


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
        "tma_sandbox",
        f"realtime_bridge-{VERSION}.dist-info",
    }


def test_the_source_archive_makes_the_same_wheel(built, wheel, tmp_path):
    """Whoever builds it for himself gets no less."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        # Debian 12's Python 3.11.2 has no filters yet; newer ones want one.
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path, **safely)
    (source,) = tmp_path.iterdir()

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        check=True,
        cwd=source,
        capture_output=True,
    )

    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as archive:
        assert set(archive.namelist()) == wheel


@pytest.fixture(scope="module")
def installed(built, clean, tmp_path_factory):
    """The folder of programs of an environment that has the wheel, as pipx makes one."""
    programs = tmp_path_factory.mktemp("installed") / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", programs.parent], check=True)
    install = [programs / "pip", "install", next(built.glob("*.whl"))]
    done = subprocess.run(install, check=False, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    return programs


def test_a_clean_environment_can_use_it(installed, clean, tmp_path):
    """The command, the migrations, and the types are there."""

    def run(*words):
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, cwd=tmp_path, env=clean
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    version = run(installed / "realtime-bridge", "--version")
    folder = run(installed / "realtime-bridge", "migrations").strip()
    public = run(
        installed / "python", "-c", "from realtime_bridge import *; print(Bridge, TmaEvent)"
    )

    assert VERSION in version
    assert folder.startswith(str(installed.parent))
    assert "realtime_bridge.bridge.Bridge" in public


async def test_the_installed_wheel_delivers(installed, clean, world, tmp_path):
    """An event of a Mini App becomes a message, with nothing of this checkout at hand."""
    bridge = Process(
        await asyncio.create_subprocess_exec(
            installed / "realtime-bridge",
            "run",
            cwd=tmp_path,
            env={**clean, **world.environment(HTTP_PORT="0")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    )
    try:
        await bridge.says("started")
        await world.insert(1, payload={"new_status": "Won", "lead_name": "Ann"})
        await world.settled(1)
        texts = await world.texts()
    finally:
        code = await bridge.stop()

    assert texts == ["Lead status updated: Ann → Won"]
    assert code == 0, bridge.output
