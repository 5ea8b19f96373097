"""One database for all tests that leave its schema alone, emptied before each of them."""

from collections.abc import Iterator

import pytest

from realtime_bridge.local.postgres import Postgres
from tests.sql.support import Connection, Worker, connect

_NAME = "sql_contract"
# Deleting is faster than truncating where there are few rows.
_EMPTY = """
    delete from public.tma_events;
    delete from public.plan_requests;
    delete from realtime.messages;
    delete from bridge.bot_keys;
    delete from bridge.settings;
    insert into bridge.settings default values;
"""


@pytest.fixture(scope="session")
def sql_dsn(postgres: Postgres, template: str) -> Iterator[str]:
    """The DSN of a migrated database, shared: for tests that change rows only."""
    yield postgres.create_database(_NAME, template)
    postgres.drop_database(_NAME)


@pytest.fixture
def database(sql_dsn: str) -> Iterator[Connection]:
    """A session of the owner in the shared database, which is empty."""
    with connect(sql_dsn) as connection:
        connection.execute(_EMPTY)
        yield connection


@pytest.fixture
def worker(sql_dsn: str, database: Connection) -> Iterator[Worker]:
    """A bridge of the emptied shared database."""
    with Worker(sql_dsn) as worker:
        yield worker


@pytest.fixture
def planner(sql_dsn: str, database: Connection) -> Iterator[Worker]:
    """A worker on the second lane, plan_requests, of the emptied shared database."""
    with Worker(sql_dsn, "plan_requests") as worker:
        yield worker
