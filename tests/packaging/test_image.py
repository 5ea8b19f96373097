"""The image: linted, and its steps carried out."""

import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.integration.kit import Process, until
from tests.packaging.conftest import REPOSITORY
from tests.packaging.dockerfile import Builder, read
from tests.run_mark import mark

DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"


HADOLINT = Path(sys.executable).parent / "hadolint"


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint comes for Linux on x86-64 only")
def test_the_linter_finds_nothing():
    """Hadolint, which knows what makes images large, slow or open."""
    linted = subprocess.run([HADOLINT, DOCKERFILE], check=False, capture_output=True, text=True)

    assert (linted.returncode, linted.stdout) == (0, "")


@pytest.fixture(scope="module")
def image(tmp_path_factory, clean):
    """What the Dockerfile's steps leave, carried out in a folder of this machine."""
    root = tmp_path_factory.mktemp("image")
    # Nobody tells pip not to isolate the build here: the Dockerfile does, or pip finds no builder.
    environment = {name: clean[name] for name in clean if name != "PIP_NO_BUILD_ISOLATION"}
    # Debian has no `python`, as the image that ours is made from has it.
    base = tmp_path_factory.mktemp("base")
    (base / "python").symlink_to(Path(sys.executable).resolve())
    environment["PATH"] = f"{base}:{environment['PATH']}"
    return Builder(REPOSITORY, root, environment).build(read(DOCKERFILE))


def installs():
    """The words of every command of the build that may ask a registry."""
    for one in read(DOCKERFILE):
        for command in one.text.split("&&") if one.word == "RUN" else ():
            if {"install", "wheel", "download"} & set(words := command.split()):
                yield words


def test_nothing_is_installed_that_is_not_named_by_its_hash():
    """Nor does the build fetch its own tools: what builds the package is pinned as well."""
    assert list(installs())
    for words in installs():
        own = "--no-deps" in words and {"--no-index", "--no-build-isolation"} & set(words)
        assert own or "--require-hashes" in words


def pins(name):
    """What a requirements file names, with its version; each must have a hash."""
    text = (REPOSITORY / "requirements" / name).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        assert "--hash=sha256:" in line
        assert "://" not in line  # no registry's address
        yield line.split()[0]


def test_the_builder_is_the_one_that_the_tests_use():
    """The pins of `build-system`, as developers have them."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    built_with = set(pins("build.txt"))

    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]
    assert {re.split(r"[<>=]", wanted)[0] for wanted in project["build-system"]["requires"]} <= {
        pin.partition("==")[0] for pin in built_with
    }
    assert built_with <= set(pins("dev.txt"))


def test_the_context_has_what_is_copied_from_it():
    """And .dockerignore lets nothing else in, such as a .env."""
    lines = (REPOSITORY / ".dockerignore").read_text().split()
    copied = {
        word
        for one in read(DOCKERFILE)
        if one.word == "COPY" and "--from=" not in one.text
        for word in one.text.split()[:-1]
    }

    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_it_runs_as_nobody_in_particular_and_without_a_shell(image):
    """A number, so that Kubernetes can see it is not root; signals reach the bridge itself."""
    assert image.user == "10001"
    assert image.entrypoint == ["realtime-bridge"]
    assert image.command == ["run"]


async def test_the_installed_bridge_delivers_and_its_health_is_seen(
    image, world, tmp_path, unused_tcp_port
):
    """Everything it needs is in the package: templates, playbook, and no development tool."""
    environment = {
        **image.environment,
        **world.environment(HTTP_PORT=str(unused_tcp_port)),
        "HTTP_HOST": "127.0.0.1",
    }

    async def start(*words):
        return Process(
            await asyncio.create_subprocess_exec(
                *words,
                cwd=tmp_path,
                env={**mark(), **environment},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        )

    async def healthy():
        probe = await start(*image.health)
        return await probe.ended() == 0

    assert not await healthy()
    bridge = await start(image.path("/opt/realtime-bridge/bin/" + image.entrypoint[0]), "run")
    try:
        await world.insert(1, payload={"new_status": "Won", "lead_name": "Ann"})
        await world.settled(1)
        texts = await world.texts()
        await until(healthy)
    finally:
        code = await bridge.stop()

    assert texts == ["Lead status updated: Ann → Won"]
    assert code == 0, bridge.output


def test_what_is_ignored_is_what_is_not_copied():
    """The build's context has what the Dockerfile copies, and no secrets of the folder."""
    kept = {
        line[1:]
        for line in (REPOSITORY / ".dockerignore").read_text().split()
        if line.startswith("!")
    }
    copied = {
        source
        for one in read(DOCKERFILE)
        if one.word == "COPY" and not one.text.startswith("--from")
        for source in one.text.split()[:-1]
    }

    assert kept == copied
