"""PostgreSQL: what is in it, and that it stops when told, or when we die."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from processes import gone, wait_until

from tma_sandbox import binaries
from tma_sandbox.errors import StackError
from tma_sandbox.postgres import Postgres

KILLED_PARENT = """
import json, time
from tma_sandbox.postgres import Postgres
postgres = Postgres()
postgres.start()
print(json.dumps([postgres.pid, str(postgres._home)]), flush=True)
time.sleep(60)
"""


def test_a_fresh_database_belongs_to_postgres_who_is_no_superuser(platform_db):
    """Migrations run as on a hosted project: by an owner without superuser rights."""
    with psycopg.connect(platform_db) as connection:
        row = connection.execute(
            "select current_user, rolsuper, rolcreaterole, rolbypassrls, rolreplication,"
            " (select datdba::regrole::text from pg_database where datname = current_database())"
            " from pg_roles where rolname = current_user"
        ).fetchone()

    assert row == ("postgres", False, True, True, True, "postgres")


def test_new_tables_and_functions_are_open_to_the_api_roles(platform_db):
    """Supabase's default privileges apply, so a forgotten revoke is noticed."""
    with psycopg.connect(platform_db) as connection:
        connection.execute("create table public.t (id int)")
        connection.execute("create function public.f() returns int language sql as 'select 1'")
        row = connection.execute(
            "select has_table_privilege('anon', 'public.t', 'insert'),"
            " has_function_privilege('anon', 'public.f()', 'execute')"
        ).fetchone()

    assert row == (True, True)


def test_postgres_may_make_roles_policies_and_publications(platform_db):
    """The role that runs migrations can do what the bridge's need."""
    with psycopg.connect(platform_db) as connection:
        connection.execute("create role made_by_a_migration nologin")
        connection.execute("grant made_by_a_migration to authenticator")
        connection.execute("create table public.t (id int)")
        connection.execute("alter publication supabase_realtime add table public.t")
        connection.execute(
            "create policy p on realtime.messages for select to made_by_a_migration using (true)"
        )
        published = connection.execute("select tablename from pg_publication_tables").fetchall()
        connection.rollback()

    assert published == [("t",)]


def test_a_broadcast_announces_its_row(platform_db):
    """`realtime.send` stores the message and notifies Realtime of its id."""
    with psycopg.connect(platform_db, autocommit=True) as connection:
        connection.execute("listen realtime_messages")
        connection.execute("select realtime.send('{\"n\": 1}', 'rows', 'tma_bell')")
        notice = next(connection.notifies(timeout=5, stop_after=1))
        row = connection.execute(
            "select topic, event, private, payload->>'n', payload->>'id', extension"
            " from realtime.messages where id = %s::uuid",
            [notice.payload],
        ).fetchone()

    assert row == ("tma_bell", "rows", True, "1", notice.payload, "broadcast")


def test_a_failing_broadcast_is_only_a_warning(platform_db):
    """`realtime.send` never fails the statement that calls it."""
    warnings = []
    with psycopg.connect(platform_db, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
        connection.execute("select realtime.send('{}', 'rows', null)")

    assert len(warnings) == 1
    assert warnings[0].startswith("ErrorSendingBroadcastMessage: ")


def test_a_schema_change_is_told_to_postgrest(platform_db):
    """DDL notifies PostgREST, as a hosted project does."""
    with psycopg.connect(platform_db, autocommit=True) as connection:
        connection.execute("listen pgrst")
        connection.execute("create table public.t (id int)")
        notice = next(connection.notifies(timeout=5, stop_after=1))

    assert notice.payload == "reload schema"


def test_strangers_need_the_password(postgres):
    """Another user of the machine cannot connect."""
    stranger = postgres.dsn().replace(postgres._password, "guess")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(stranger)


def test_restart_keeps_port_and_data():
    """As when Postgres is updated while clients use it."""
    with Postgres() as cluster:
        with psycopg.connect(cluster.dsn()) as connection:
            connection.execute("create table public.kept (id int)")
        dsn, pid = cluster.dsn(), cluster.pid

        cluster.restart("immediate")

        assert cluster.pid != pid
        with psycopg.connect(dsn) as connection:
            assert connection.execute("select count(*) from public.kept").fetchone() == (0,)


def test_stop_leaves_no_process_port_or_file():
    """A temporary cluster is removed."""
    cluster = Postgres()
    cluster.start()
    dsn, pid, home = cluster.dsn(), cluster.pid, cluster._home

    cluster.stop()

    assert gone(pid)
    assert not home.exists()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(dsn)


@pytest.fixture
def open_dir():
    """A directory that the user PostgreSQL runs as can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_data_in_a_directory_survives_stop(open_dir):
    """With a data directory the next start finds the data again, and it is synced to disk."""
    with Postgres(data_dir=open_dir / "data") as first:
        with psycopg.connect(first.dsn()) as connection:
            connection.execute("create table public.kept (id int)")
            assert connection.execute("show fsync").fetchone() == ("on",)
        dsn = first.dsn()

    with Postgres(data_dir=open_dir / "data", port=first.port) as second:
        with psycopg.connect(dsn) as connection:
            assert connection.execute("select count(*) from public.kept").fetchone() == (0,)
        assert second.dsn() == dsn


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another user")
def test_a_data_directory_out_of_reach_is_refused_with_the_fix(open_dir):
    """The user that PostgreSQL runs as cannot enter root's home, and the error says so."""
    (open_dir / "closed").mkdir(mode=0o700)

    with pytest.raises(StackError, match="choose a data directory elsewhere"):
        Postgres(data_dir=open_dir / "closed" / "data").start()


def test_kill_9_of_the_parent_takes_the_server_along():
    """A killed process leaves no server behind."""
    parent = subprocess.Popen([sys.executable, "-c", KILLED_PARENT], stdout=subprocess.PIPE)
    pid, home = json.loads(parent.stdout.readline())
    assert not gone(pid)

    parent.send_signal(signal.SIGKILL)
    parent.communicate()

    assert wait_until(lambda: gone(pid))
    assert wait_until(lambda: not Path(home).exists())


def test_a_place_without_postgres_is_refused_with_the_fix(monkeypatch, tmp_path):
    """The error names the directory and the fix."""
    monkeypatch.setenv("TMA_SANDBOX_PG_BIN", str(tmp_path))

    with pytest.raises(StackError, match="Install one") as caught:
        Postgres().start()

    assert f"{tmp_path}: no initdb" in str(caught.value)


def test_binaries_that_the_runner_cannot_reach_are_copied(tmp_path):
    """PostgreSQL starts from a virtual environment in root's home."""
    found = binaries.find()
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "install").symlink_to(found.directory.parent)
    there = binaries.Binaries(hidden / "install" / "bin", found.major)

    copied = binaries.reachable(there, (65534, 65534), tmp_path / "cache")

    assert copied.directory.is_relative_to(tmp_path / "cache")
    assert binaries.examine(copied.directory) == (None, found.major)
