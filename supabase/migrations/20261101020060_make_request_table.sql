-- The door for users' own tables: additive, and it may be used again.

create or replace function bridge.request_table_name(p_table regclass) returns text
language plpgsql stable set search_path = '' as $$
declare
    v_name text;
begin
    select c.relname into v_name
    from pg_class c
    where c.oid = p_table and c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
        and c.relname <> 'tma_events';
    if v_name is null then
        raise exception '% cannot be a request table', coalesce(p_table::text, 'null')
            using errcode = 'invalid_parameter_value',
            hint = 'It must be a plain table in the schema public, where the API finds it, and not tma_events.';
    end if;
    return v_name;
end $$;
comment on function bridge.request_table_name(regclass) is
    'The name of a table that may become a request table. Raises invalid_parameter_value for anything else.';
revoke execute on function bridge.request_table_name(regclass) from public, anon, authenticated;

create or replace function bridge.known_user_columns(p_table regclass) returns text[]
language plpgsql stable set search_path = '' as $$
declare
    v_columns text[];
begin
    select t.user_columns into v_columns
    from bridge.request_tables t where t.relation = p_table;
    if v_columns is null then
        raise exception '% is not a request table yet', p_table
            using errcode = 'invalid_parameter_value',
            hint = format(
                'Say which columns users may insert: select bridge.make_request_table(%L, array[...]);',
                p_table
            );
    end if;
    -- With what users may insert now: a column may have been renamed since, or opened to them.
    return array(
        select a.attname::text
        from pg_attribute a
        where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped
            and a.attname <> all (bridge.own_request_columns())
            and (a.attname = any (v_columns) or exists (
                select from aclexplode(a.attacl) acl
                where acl.grantee = 'anon'::regrole and acl.privilege_type = 'INSERT'
            ))
            and a.attname not in ('telegram_id', 'dedupe_key')
        order by a.attnum
    );
end $$;
comment on function bridge.known_user_columns(regclass) is
    'The columns of a request table that users may insert, as it was made and as it is now.';
revoke execute on function bridge.known_user_columns(regclass) from public, anon, authenticated;

create or replace function bridge.check_user_columns(p_table regclass, p_user_columns text[])
returns void
language plpgsql stable set search_path = '' as $$
declare
    v_column text;
begin
    foreach v_column in array p_user_columns
    loop
        if v_column = any (bridge.own_request_columns()) then
            raise exception 'users must not insert the column % of a request table', v_column
                using errcode = 'invalid_parameter_value',
                hint = 'It is the bridge that writes it. Leave it out of p_user_columns.';
        end if;
        if not exists (
            select from pg_attribute a
            where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped
                and a.attname = v_column
        ) then
            raise exception 'column "%" of % does not exist', v_column, p_table
                using errcode = 'undefined_column';
        end if;
    end loop;
end $$;
comment on function bridge.check_user_columns(regclass, text[]) is
    'Raises where users cannot or must not insert one of these columns.';
revoke execute on function bridge.check_user_columns(regclass, text[])
    from public, anon, authenticated;

create or replace function bridge.make_request_table(
    p_table regclass, p_user_columns text[] default null
)
returns void
language plpgsql set search_path = '' as $$
declare
    v_name constant text := bridge.request_table_name(p_table);
    v_columns constant text[] := coalesce(p_user_columns, bridge.known_user_columns(p_table));
begin
    perform bridge.add_request_columns(p_table);
    perform bridge.check_user_columns(p_table, v_columns);
    perform bridge.add_request_rules(p_table);
    perform bridge.add_request_indexes(p_table, v_name);
    perform bridge.grant_requests(p_table, v_columns);
    perform bridge.add_request_triggers(p_table);

    -- Under one name only; and what was dropped since is forgotten.
    delete from bridge.request_tables t
    where (t.name = v_name) <> (t.relation = p_table)
        or not exists (select from pg_class c where c.oid = t.relation);
    insert into bridge.request_tables (name, relation, user_columns)
    values (v_name, p_table, v_columns)
    on conflict (name) do update set user_columns = excluded.user_columns;
end $$;
comment on function bridge.make_request_table(regclass, text[]) is
    'Makes a table of public, with a bigint primary key id, a request table: adds the columns, rules, indexes, policies and triggers that it needs, and writes it down in bridge.request_tables. Users may insert p_user_columns, telegram_id (their own) and dedupe_key. May be run again, for a table that is one without p_user_columns: that repairs it.';
revoke execute on function bridge.make_request_table(regclass, text[])
    from public, anon, authenticated;

select bridge.remake_request_tables();
