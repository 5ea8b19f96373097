"""`realtime-bridge local` as a user runs it: in its own process, stopped by signals."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from urllib.request import urlopen

import psycopg
import pytest
from dotenv import dotenv_values
from processes import listens, marked, wait_until

from realtime_bridge.database import migrations_directory
from tests.signing_keys import jwk

READY = "ready"


class Local:
    """A running command and its output."""

    def __init__(self, process: subprocess.Popen, marker: str):
        self.process = process
        self.said = []
        self.marker = marker

    def family(self) -> set[int]:
        """The processes that it has started."""
        return marked(self.marker)

    def until(self, line: str) -> None:
        """Read its output up to this line."""
        for said in self.process.stdout:
            self.said.append(said.rstrip("\n"))
            if self.said[-1] == line:
                return
        raise AssertionError(f"it ended before {line!r}: {self.said}")

    def ended_by(self, sig: signal.Signals) -> tuple[int, float]:
        """Signal its process group, as a terminal does; return exit code and seconds."""
        started = time.monotonic()
        os.killpg(self.process.pid, sig)
        rest, _ = self.process.communicate(timeout=20)
        self.said += rest.splitlines()
        return self.process.returncode, time.monotonic() - started


@contextmanager
def local(*arguments, cwd):
    """Run the command, and kill it at the end if it is still running."""
    marker = f"STACK_UNDER_TEST={uuid.uuid4()}"
    with subprocess.Popen(
        [sys.executable, "-m", "realtime_bridge", "local", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict([marker.split("=")]),
    ) as process:
        yield Local(process, marker)
        if process.poll() is None:
            process.kill()


def test_it_writes_what_run_needs_and_says_ready(tmp_path):
    """The other lines of the .env file stay; the settings in it work with the stack."""
    env_file = tmp_path / ".env"
    mine = "# mine\nMINI_APP_URL=https://t.me/x/y\nBOT_TOKEN=\n"
    env_file.write_text(mine)
    with local("--port", "0", "--env-file", ".env", cwd=tmp_path) as command:
        command.until(READY)
        settings = dotenv_values(env_file)
        mode = env_file.stat().st_mode & 0o777
        with psycopg.connect(settings["DATABASE_URL"]) as connection:
            connection.execute("select from tma_events")
        port = int(settings["SUPABASE_URL"].rpartition(":")[2])
        serving = listens(port)
        family = command.family()
        code, seconds = command.ended_by(signal.SIGTERM)

    assert serving
    assert set(settings) == {
        "MINI_APP_URL",
        "SUPABASE_URL",
        "SUPABASE_KEY",
        "SUPABASE_ANON_KEY",
        "SUPABASE_SECRET_KEY",
        "SUPABASE_PUBLISHABLE_KEY",
        "SUPABASE_JWT_SECRET",
        "DATABASE_URL",
        "BOT_TOKEN",
        "TELEGRAM_API_URL",
    }
    assert env_file.read_text() == mine
    assert f"DATABASE_URL={settings['DATABASE_URL']}" in command.said
    assert max(map(len, command.said)) <= 80
    assert mode == 0o600
    assert (code, command.said[-1]) == (0, "stopped")
    assert seconds < 5
    assert len(family) > 3
    assert command.family() == set()
    assert not listens(port)


@pytest.mark.parametrize("line", [READY, "Starting PostgreSQL"])
def test_ctrl_c_ends_it_at_any_time(tmp_path, line):
    """Exit code 0, no traceback and no process, even while it is starting."""
    with local("--port", "0", cwd=tmp_path) as command:
        command.until(line)
        code, seconds = command.ended_by(signal.SIGINT)

    assert code == 0
    assert seconds < 5
    assert "Traceback" not in "\n".join(command.said)
    assert command.family() == set()


def test_kill_9_leaves_nothing_running(tmp_path):
    """No Postgres is left behind."""
    with local("--port", "0", cwd=tmp_path) as command:
        command.until(READY)
        family = command.family()
        command.ended_by(signal.SIGKILL)

        assert len(family) > 3
        assert wait_until(lambda: command.family() == set())


def test_a_port_in_use_is_one_clear_line(tmp_path):
    """Exit code 78, the port, and the fix."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with local("--port", port, cwd=tmp_path) as command:
            said, _ = command.process.communicate(timeout=20)

    assert command.process.returncode == 78
    assert len(said.splitlines()) == 1
    assert f"port {port} on 127.0.0.1 is in use" in said


def test_the_file_is_env_local_unless_told_otherwise(tmp_path):
    """It is not the file with real credentials, and is removed with the stack."""
    with local("--port", "0", cwd=tmp_path) as command:
        command.until(READY)
        names = set(dotenv_values(tmp_path / ".env.local"))
        command.ended_by(signal.SIGTERM)

    assert {"SUPABASE_URL", "TELEGRAM_API_URL"} <= names
    assert list(tmp_path.iterdir()) == []


def test_a_projects_migrations_are_applied_in_their_order(tmp_path):
    """Including those older than the bridge's, which are among them."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrations_directory(), folder)
    (folder / "20200101000000_old.sql").write_text(
        'create extension if not exists "uuid-ossp" with schema extensions;'
        "create table public.profiles (id uuid primary key references auth.users (id),"
        " token uuid default uuid_generate_v4())"
    )
    (folder / "29990101000000_new.sql").write_text(
        "create table public.notes (event bigint references public.tma_events (id))"
    )
    with local("--port", "0", "--migrations", "migrations", cwd=tmp_path) as command:
        command.until(READY)
        settings = dotenv_values(tmp_path / ".env.local")
        with psycopg.connect(settings["DATABASE_URL"]) as connection:
            recorded = connection.execute(
                "select min(version), max(version) from supabase_migrations.schema_migrations"
            ).fetchone()
            connection.execute("select from profiles, notes")

    assert recorded == ("20200101000000", "29990101000000")


def test_signing_keys_are_trusted_and_published(tmp_path):
    """As in a project that has imported them; any other file is an error."""
    key = jwk("ES256")
    (tmp_path / "signing_keys.json").write_text(json.dumps([key]))
    (tmp_path / "other.json").write_text("{}")
    with local("--port", "0", "--signing-keys", "signing_keys.json", cwd=tmp_path) as command:
        command.until(READY)
        url = dotenv_values(tmp_path / ".env.local")["SUPABASE_URL"]
        with urlopen(f"{url}/auth/v1/.well-known/jwks.json") as answer:
            published = json.load(answer)["keys"]
    with local("--port", "0", "--signing-keys", "other.json", cwd=tmp_path) as command:
        said, _ = command.process.communicate(timeout=20)

    assert [one["kid"] for one in published] == [key["kid"]]
    assert command.process.returncode == 78
    assert "key 1 of other.json is no JWK with a kid" in said


def test_real_credentials_are_not_touched(tmp_path):
    """Exit code 78 before anything starts, the settings' names, and the fix."""
    env_file = tmp_path / ".env"
    env_file.write_text("SUPABASE_KEY=sb_secret_real\nBOT_TOKEN=1:real\n")
    with local("--port", "0", "--env-file", ".env", cwd=tmp_path) as command:
        said, _ = command.process.communicate(timeout=20)

    assert command.process.returncode == 78
    assert said.startswith("error: .env has settings that are not this stack's: BOT_TOKEN, SUPABA")
    assert "realtime-bridge local --env-file .env.stack" in said
    assert "real\n" not in said
    assert env_file.read_text() == "SUPABASE_KEY=sb_secret_real\nBOT_TOKEN=1:real\n"


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path):
    """Before anything starts."""
    with local("--env-file", "nowhere/.env", cwd=tmp_path) as command:
        said, _ = command.process.communicate(timeout=20)

    assert command.process.returncode == 78
    assert said.startswith("error: cannot write nowhere/.env: there is no directory")
