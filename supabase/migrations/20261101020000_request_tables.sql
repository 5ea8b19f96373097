-- Request tables: rows of the Mini App that a worker answers on the row itself, the second kind of
-- work.
--
-- A request table is a queue like tma_events with less to guard: answering twice is harmless, so
-- there is no fence, no order within a chat, and a stale row simply goes back to pending.
-- bridge.make_request_table() makes a table of public one and writes it down here. The functions
-- that the bridge calls are the same for all of them: they take a table's name and look it up, so
-- that a new version of a function is one for every table.

create table if not exists bridge.request_tables (
    name text primary key,
    relation regclass not null unique,
    user_columns text[] not null
);
comment on table bridge.request_tables is
    'The tables of public that are request tables. Written by bridge.make_request_table(); delete a row to keep the bridge out of that table.';
comment on column bridge.request_tables.name is 'What the bridge calls it by.';
comment on column bridge.request_tables.relation is
    'The table itself: another one that gets this name later is not a request table.';
comment on column bridge.request_tables.user_columns is
    'The columns that users may insert, beside telegram_id and dedupe_key.';
revoke all on bridge.request_tables from public, anon, authenticated, service_role, tma_bridge;

create or replace function bridge.present_request_tables() returns setof bridge.request_tables
language sql stable rows 5 set search_path = '' as $$
    select t.*
    from bridge.request_tables t
    join pg_catalog.pg_class c on c.oid = t.relation
    where c.relnamespace = 'public'::regnamespace and c.relname = t.name and c.relkind = 'r'
$$;
comment on function bridge.present_request_tables() is
    'The request tables that are still there under their name: none that was dropped, renamed, moved or made anew since.';
revoke execute on function bridge.present_request_tables() from public, anon, authenticated;

-- The one way from a name that a caller gives to a name that goes into dynamic SQL.
create or replace function bridge.request_table(p_table text) returns text
language plpgsql stable set search_path = '' as $$
declare
    v_name text;
begin
    select t.name into v_name from bridge.present_request_tables() t where t.name = p_table;
    if v_name is not null then
        return v_name;
    end if;
    raise exception '% %', coalesce(quote_ident(left(p_table, 63)), 'null'), case
        when exists (select from bridge.request_tables t where t.name = p_table)
        then 'was a request table, but has been dropped, renamed or made anew'
        else 'is not a request table'
    end
        using errcode = 'PT404', -- the HTTP status that PostgREST answers with
        hint = format(
            'Make the table one: select bridge.make_request_table(%L, array[...]); with the columns that users may insert.',
            'public.' || coalesce(quote_ident(left(p_table, 63)), '...')
        );
end $$;
comment on function bridge.request_table(text) is
    'The name of a request table, as it is written down. Raises PT404 for any other.';
revoke execute on function bridge.request_table(text) from public, anon, authenticated;

create or replace function bridge.remake_request_tables() returns void
language plpgsql set search_path = '' as $$
declare
    v_table record;
begin
    for v_table in select t.relation from bridge.present_request_tables() t order by t.name
    loop
        perform bridge.make_request_table(v_table.relation);
    end loop;
end $$;
comment on function bridge.remake_request_tables() is
    'Makes every request table again: what they have beside functions reaches the users'' too. Migrations that change it end with this.';
revoke execute on function bridge.remake_request_tables() from public, anon, authenticated;

alter table bridge.settings
    add column if not exists max_requests_per_user integer not null default 10
        check (max_requests_per_user > 0);
comment on column bridge.settings.max_requests_per_user is
    'Rows of one user that may wait in one request table when the user inserts more.';

-- Copies from before the first release had functions of each table's own.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid
        from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.prosecdef
            and p.prosrc ~ '^ select \* from bridge\.(claim|settle|release|recover|count)_requests\('
    loop
        execute format('drop function %s', v_function);
    end loop;
end $$;
drop function if exists bridge.take_requests(regclass, integer);
drop function if exists bridge.claim_requests(regclass, integer);
drop function if exists bridge.settle_requests(regclass, jsonb);
drop function if exists bridge.release_requests(regclass, jsonb);
drop function if exists bridge.recover_requests(regclass, interval);
drop function if exists bridge.count_requests(regclass);
