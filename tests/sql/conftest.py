"""One database for all tests that leave its schema alone, emptied before each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime_bridge.database import migrations_directory
from tests.sql.signing import BOT, web_app_key
from tests.sql.support import Connection, Worker, connect
from tma_sandbox import migrations
from tma_sandbox.postgres import Postgres

_NAME = "sql_contract"
# Deleting is faster than truncating where there are few rows.
_EMPTY = """
    delete from public.tma_events;
    delete from public.plan_requests;
    delete from realtime.messages;
    delete from bridge.bot_keys;
    delete from bridge.claim_keys;
    delete from bridge.chats;
    delete from tma_chat_settings;
    delete from bridge.replicas;
    delete from bridge.bot_pace;
    insert into bridge.bot_pace default values;
    delete from bridge.settings;
    insert into bridge.settings default values;
"""


DEBIAN = Path("/usr/lib/postgresql/15")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The cluster of these tests: one that compiles what it takes for dear, where there is one.

    Debian's is also the oldest that Supabase has. PostgreSQL from the wheel, which the other tests
    use, cannot compile.
    """
    with pytest.MonkeyPatch.context() as patch:
        if (DEBIAN / "lib" / "llvmjit.so").exists():
            patch.setenv("TMA_SANDBOX_PG_BIN", str(DEBIAN / "bin"))
        with Postgres() as cluster:
            yield cluster


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """The name of a migrated database of that cluster."""
    name = "template_sql"
    migrations.apply(postgres.create_database(name), migrations_directory())
    return name


@pytest.fixture(scope="session")
def sql_dsn(postgres: Postgres, template: str) -> Iterator[str]:
    """The DSN of a migrated database, shared: for tests that change rows only."""
    yield postgres.create_database(_NAME, template)
    postgres.drop_database(_NAME)


@pytest.fixture(scope="session")
def sessions(sql_dsn: str) -> Iterator[tuple[Connection, Worker, Worker]]:
    """The sessions behind the next three fixtures: connecting takes longer than most tests."""
    with (
        connect(sql_dsn) as owner,
        Worker(sql_dsn) as worker,
        Worker(sql_dsn, "plan_requests") as planner,
    ):
        yield owner, worker, planner


@pytest.fixture
def database(sessions: tuple[Connection, Worker, Worker]) -> Connection:
    """A session of the owner in the shared database, which is empty."""
    owner = sessions[0]
    owner.execute(_EMPTY)
    return owner


@pytest.fixture
def worker(sessions: tuple[Connection, Worker, Worker], database: Connection) -> Worker:
    """A bridge of the emptied shared database."""
    return sessions[1]


@pytest.fixture(scope="session")
def requesters(sql_dsn: str) -> Iterator[dict[str, Connection]]:
    """Sessions of the roles in which requests of Mini Apps run."""
    with connect(sql_dsn, "anon") as anon, connect(sql_dsn, "authenticated") as authenticated:
        yield {"anon": anon, "authenticated": authenticated}


@pytest.fixture
def anon(requesters: dict[str, Connection], worker: Worker) -> Connection:
    """A request by the anon key, to a project in which one bot is registered."""
    worker.call("register_tma_bot", BOT, web_app_key())
    requesters["anon"].execute("reset all")
    return requesters["anon"]


@pytest.fixture
def planner(sessions: tuple[Connection, Worker, Worker], database: Connection) -> Worker:
    """A worker on the second lane, plan_requests, of the emptied shared database."""
    return sessions[2]


@pytest.fixture
def own(db: str) -> Iterator[Connection]:
    """A migrated database of the test's own: for one that changes its schema."""
    with connect(db) as connection:
        yield connection
