"""A project's own migrations: what Supabase accepts, the stack accepts."""

import subprocess
import uuid

import psycopg
import pytest


@pytest.fixture
def project(platform_db):
    """A session of the role that runs migrations, rolled back because roles are per cluster."""
    with psycopg.connect(platform_db) as connection:
        yield connection
        connection.rollback()


@pytest.mark.parametrize(
    "migration",
    [
        'create extension if not exists "uuid-ossp"',
        'create extension if not exists "uuid-ossp" with schema extensions',
        "create extension if not exists moddatetime schema extensions",
        "create table public.notes (id uuid primary key default uuid_generate_v4())",
        "create table public.notes (id uuid primary key default extensions.uuid_generate_v4())",
        "create table public.profiles (id uuid references auth.users (id) on delete cascade)",
        "create table public.notes (owner uuid default auth.uid() references auth.users)",
        """create function public.f() returns trigger language plpgsql as 'begin return new; end';
        create trigger on_auth_user_created after insert on auth.users
            for each row execute procedure public.f()""",
        "grant execute on function auth.jwt() to supabase_auth_admin",
        "alter role authenticator set pgrst.db_schemas to 'public, api'; notify pgrst",
        "alter role authenticator set pgrst.db_max_rows = '500'",
        "alter role authenticator set pgrst.db_aggregates_enabled = 'true'",
        "alter role authenticator set pgrst.db_pre_request to 'public.f'",
        "alter role authenticator reset pgrst.db_pre_request",
    ],
)
def test_it_is_accepted(project, migration):
    """As role postgres, with statements from the histories of real projects."""
    project.execute(migration)


def test_a_user_may_be_seeded_and_takes_its_rows_along(project):
    """A seed can insert into auth.users, and foreign keys to it work."""
    someone = "b0f8a7c6-2f4e-4d4b-8a55-7f7d3f3f2a11"
    project.execute(
        "create table public.notes (owner uuid references auth.users on delete cascade)"
    )
    project.execute(
        "insert into auth.users (id, instance_id, aud, role, email, raw_user_meta_data)"
        " values (%s, %s, 'authenticated', 'authenticated', 'a@example.com', '{}')",
        [someone, uuid.UUID(int=0)],
    )
    project.execute("insert into public.notes values (%s)", [someone])
    project.execute("delete from auth.users")

    assert project.execute("select count(*) from public.notes").fetchone() == (0,)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_users_are_nobodys_to_read_through_the_api(project, role):
    """A policy that reads auth.users fails here as it fails on a hosted project."""
    project.execute(f"set local role {role}")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        project.execute("select from auth.users")


def test_uuids_are_those_of_the_standard(project):
    """Even if PostgreSQL has no uuid-ossp, and our functions replace it."""
    row = project.execute(
        "select uuid_generate_v3(uuid_ns_dns(), 'Żółw'), uuid_generate_v5(uuid_ns_url(), 'a/b'),"
        " uuid_generate_v4(), uuid_generate_v1(), uuid_generate_v1mc(), uuid_nil(),"
        " abs(extract(epoch from clock_timestamp()))"
    ).fetchone()
    three, five, four, one, multicast, nil, now = row

    assert three == uuid.uuid3(uuid.NAMESPACE_DNS, "Żółw")
    assert five == uuid.uuid5(uuid.NAMESPACE_URL, "a/b")
    assert (four.version, one.version, multicast.version) == (4, 1, 1)
    assert {one.variant, four.variant} == {uuid.RFC_4122}
    assert abs((one.time - 0x01B21DD213814000) / 1e7 - float(now)) < 60
    assert nil == uuid.UUID(int=0)


def test_a_dump_of_the_project_has_the_extension_and_not_its_functions(platform_db, postgres):
    """A `supabase db dump` from here can be restored on a hosted project."""
    dump = subprocess.run(
        [postgres.tool("pg_dump"), "--schema-only", platform_db],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA extensions;' in dump
    assert "FUNCTION extensions.uuid_generate" not in dump


def test_the_password_is_stretched_as_far_as_drivers_demand(postgres):
    """Bun, pg8000 and older JDBC require 4096 rounds, the minimum of RFC 7677."""
    with psycopg.connect(postgres.dsn(user="supabase_admin")) as admin:
        kept = admin.execute(
            "select rolname, split_part(split_part(rolpassword, '$', 2), ':', 1)::int"
            " from pg_authid where rolpassword is not null"
        ).fetchall()

    assert {name for name, _ in kept} >= {"postgres", "authenticator", "supabase_admin"}
    assert min(rounds for _, rounds in kept) >= 4096
