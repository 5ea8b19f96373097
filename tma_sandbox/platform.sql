-- What a new Supabase project has in its database, as far as a bridge and a Mini App can tell the
-- difference. Applied once per cluster by supabase_admin, the superuser, to a template.

-- Roles

create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
create role supabase_realtime_admin nologin noinherit;
create role supabase_auth_admin nologin noinherit createrole; -- hooks of Auth are granted to it

-- The owner of a hosted project's database, which runs its migrations. Not a superuser.
create role postgres login createrole createdb replication bypassrls;

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role, authenticator to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
grant supabase_realtime_admin to postgres;

-- The settings of PostgREST that a migration may change, from the list of supautils. Only a
-- superuser may set other names with a dot.
do $$
declare
    name text;
begin
    foreach name in array array[
        'db_aggregates_enabled', 'db_anon_role', 'db_extra_search_path', 'db_max_rows',
        'db_plan_enabled', 'db_pre_request', 'db_root_spec', 'db_schemas', 'db_tx_end',
        'jwt_aud', 'jwt_role_claim_key', 'jwt_secret', 'openapi_mode', 'openapi_server_proxy_uri',
        'server_timing_enabled'
    ] loop
        execute format('grant set on parameter %I to postgres', 'pgrst.' || name);
    end loop;
end $$;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, auth, extensions;

-- Schemas, and the default privileges in them

create schema extensions;
grant usage on schema extensions to public;
grant all on schema extensions to postgres;
create extension pgcrypto with schema extensions;
-- On a hosted project postgres may create this extension. Here only a superuser may, so it exists
-- already, for migrations with `if not exists`. Not every build of PostgreSQL has it.
do $$
begin
    create extension moddatetime with schema extensions;
exception when feature_not_supported or undefined_file then
    null;
end $$;

grant usage on schema public to anon, authenticated, service_role;
grant all on schema public to postgres;

alter default privileges for role postgres, supabase_admin in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres, supabase_admin in schema public
    grant all on sequences to postgres, anon, authenticated, service_role;
alter default privileges for role postgres, supabase_admin in schema public
    grant all on functions to postgres, anon, authenticated, service_role;

-- The caller, from the claims that PostgREST sets

create schema auth;
grant usage on schema auth to anon, authenticated, service_role, postgres;

create function auth.jwt() returns jsonb language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;

create function auth.uid() returns uuid language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
    )::uuid
$$;

create function auth.role() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
    )
$$;

create function auth.email() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.email', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
    )
$$;

-- For the foreign keys and triggers of migrations. Nobody signs up here, but a seed may insert
-- users: the columns are those of a hosted project.

create table auth.users (
    instance_id uuid,
    id uuid not null primary key,
    aud varchar(255),
    role varchar(255),
    email varchar(255),
    encrypted_password varchar(255),
    email_confirmed_at timestamptz,
    invited_at timestamptz,
    confirmation_token varchar(255),
    confirmation_sent_at timestamptz,
    recovery_token varchar(255),
    recovery_sent_at timestamptz,
    email_change_token_new varchar(255),
    email_change varchar(255),
    email_change_sent_at timestamptz,
    last_sign_in_at timestamptz,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    is_super_admin boolean,
    created_at timestamptz,
    updated_at timestamptz,
    phone text unique default null,
    phone_confirmed_at timestamptz,
    phone_change text default '',
    phone_change_token varchar(255) default '',
    phone_change_sent_at timestamptz,
    confirmed_at timestamptz
        generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
    email_change_token_current varchar(255) default '',
    email_change_confirm_status smallint default 0
        check (email_change_confirm_status between 0 and 2),
    banned_until timestamptz,
    reauthentication_token varchar(255) default '',
    reauthentication_sent_at timestamptz,
    is_sso_user boolean not null default false,
    deleted_at timestamptz,
    is_anonymous boolean not null default false
);
create unique index users_email_partial_key on auth.users (email) where not is_sso_user;
alter table auth.users owner to supabase_auth_admin;
alter table auth.users enable row level security;
grant usage on schema auth to supabase_auth_admin;
grant all on auth.users to postgres;

-- PostgREST is notified of every change of the schema

create function extensions.pgrst_watch() returns event_trigger language plpgsql as $$
begin
    notify pgrst, 'reload schema';
end $$;
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_watch();
create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_watch();

-- Realtime: Postgres Changes

create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;

-- Realtime: broadcasts from the database

create schema realtime;
grant usage on schema realtime to anon, authenticated, service_role;
grant usage on schema realtime to postgres with grant option; -- as hosted Supabase
grant all on schema realtime to supabase_realtime_admin;

-- Supabase partitions this table by day and drops old days. Here it is one table, which its
-- trigger keeps small.
create table realtime.messages (
    topic text not null,
    extension text not null,
    payload jsonb,
    event text,
    private boolean default false,
    updated_at timestamp not null default now(),
    inserted_at timestamp not null default now(),
    id uuid not null default gen_random_uuid(),
    primary key (id, inserted_at)
);
create index messages_inserted_at_index on realtime.messages (inserted_at);
alter table realtime.messages owner to supabase_realtime_admin;
alter table realtime.messages enable row level security;
grant select, insert, update on realtime.messages to postgres, anon, authenticated, service_role;

create function realtime.topic() returns text language sql stable as $$
    select nullif(current_setting('realtime.topic', true), '')::text
$$;
alter function realtime.topic() owner to supabase_realtime_admin;

create function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void language plpgsql as $$
declare
    generated_id uuid;
    final_payload jsonb;
begin
    begin
        generated_id := gen_random_uuid();
        if payload ? 'id' then
            final_payload := payload;
        else
            final_payload := jsonb_set(payload, '{id}', to_jsonb(generated_id));
        end if;
        execute format('set local realtime.topic to %L', topic);
        insert into realtime.messages (id, payload, event, topic, private, extension)
        values (generated_id, final_payload, event, topic, private, 'broadcast');
    exception
        when others then
            raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm;
    end;
end $$;

create function realtime.broadcast_changes(
    topic_name text,
    event_name text,
    operation text,
    table_name text,
    table_schema text,
    new record,
    old record,
    level text default 'ROW'
)
returns void language plpgsql as $$
begin
    if level = 'STATEMENT' then
        raise exception 'function can only be triggered for each row, not for each statement';
    end if;
    if operation not in ('INSERT', 'UPDATE', 'DELETE') then
        raise exception 'Unexpected operation type: %', operation;
    end if;
    perform realtime.send(
        jsonb_build_object(
            'old_record', old,
            'record', new,
            'operation', operation,
            'table', table_name,
            'schema', table_schema
        ),
        event_name,
        topic_name
    );
exception
    when others then
        raise exception 'Failed to process the row: %', sqlerrm;
end $$;

-- The local Realtime listens on this channel and reads the row by its id. A hosted project has no
-- such trigger: there the server reads the write-ahead log.
create function realtime.announce_message() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform pg_notify('realtime_messages', new.id::text);
    if random() < 0.01 then
        delete from realtime.messages where (id, inserted_at) in (
            select id, inserted_at from realtime.messages
            where inserted_at < now() - interval '1 hour'
            order by inserted_at limit 1000 for update skip locked
        );
    end if;
    return null;
end $$;
create trigger announce_message after insert on realtime.messages
    for each row execute function realtime.announce_message();
