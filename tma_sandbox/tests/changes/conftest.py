"""A database and a server for tests of Postgres Changes."""

import pytest
from realtime_kit import (
    TMA_EVENTS,
    execute,
)

NO_TABLES = """
    do $$
    declare
        found regclass;
    begin
        for found in
            select oid from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
        loop
            execute format('drop table %s cascade', found);
        end loop;
    end $$
"""


@pytest.fixture(scope="module")
def database(postgres):
    """One database for all tests; each creates its own tables."""
    yield postgres.create_database("realtime_changes")
    postgres.drop_database("realtime_changes")


@pytest.fixture
async def dsn(database):
    """The database with the recordings' table, empty."""
    await execute(database, NO_TABLES)
    await execute(database, TMA_EVENTS)
    return database
