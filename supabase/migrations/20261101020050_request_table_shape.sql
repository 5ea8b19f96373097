-- What bridge.make_request_table() does to a table: its columns, rules, indexes, rights and triggers.
-- Each step may be taken again.

create or replace function bridge.own_request_columns() returns text[]
language sql immutable set search_path = '' as $$
    select array['id', 'status', 'result', 'error', 'created_at', 'completed_at', 'attempt',
        'retries', 'retry_at', 'claimed_at', 'settled_at', 'lead_visible']
$$;
comment on function bridge.own_request_columns() is
    'The columns of a request table that no user may write: who could would answer himself.';
revoke execute on function bridge.own_request_columns() from public, anon, authenticated;

create or replace function bridge.add_request_columns(p_table regclass) returns void
language plpgsql set search_path = '' as $$
begin
    execute format($ddl$
        alter table %s
            add column if not exists telegram_id bigint,
            add column if not exists lead_id bigint,
            add column if not exists status text,
            add column if not exists result jsonb,
            add column if not exists error text,
            add column if not exists created_at timestamptz,
            add column if not exists completed_at timestamptz,
            add column if not exists dedupe_key text,
            add column if not exists locale text,
            add column if not exists attempt integer not null default 0,
            add column if not exists retries integer not null default 0,
            add column if not exists retry_at timestamptz,
            add column if not exists claimed_at timestamptz,
            add column if not exists settled_at timestamptz,
            add column if not exists lead_visible boolean
    $ddl$, p_table);

    -- Rows of an older table. Answering again is harmless, so what was in work is to be done.
    execute format($dml$
        update %s set
            created_at = coalesce(created_at, now()),
            status = case
                when status is null or (status = 'processing' and claimed_at is null) then 'pending'
                else status
            end,
            settled_at = case
                when status in ('completed', 'failed')
                then coalesce(settled_at, completed_at, created_at, now())
            end,
            completed_at = case
                when status = 'completed' then coalesce(completed_at, created_at, now())
            end,
            error = case
                when status = 'failed' then coalesce(nullif(error, ''), 'failed without a reason')
                else error
            end
        where created_at is null or status is null
            or (status = 'processing' and claimed_at is null)
            or (status in ('completed', 'failed') and settled_at is null)
    $dml$, p_table);

    execute format($ddl$
        alter table %s
            alter column telegram_id set not null,
            alter column telegram_id set default bridge.statement_user_id(),
            alter column status set not null,
            alter column status set default 'pending',
            alter column created_at set not null,
            alter column created_at set default now(),
            alter column locale set default bridge.statement_user_locale(),
            replica identity default,
            set (
                autovacuum_vacuum_scale_factor = 0.02,
                autovacuum_vacuum_threshold = 1000
            )
    $ddl$, p_table);
    perform bridge.use_identity(p_table);
end $$;
comment on function bridge.add_request_columns(regclass) is
    'Adds the columns of a request table, and fills them in where the table had rows.';
revoke execute on function bridge.add_request_columns(regclass) from public, anon, authenticated;

create or replace function bridge.add_request_rules(p_table regclass) returns void
language plpgsql set search_path = '' as $$
declare
    v_rule record;
begin
    for v_rule in
        select * from (values
            ('status_is_known',
                'status in (''pending'', ''processing'', ''completed'', ''failed'')'),
            ('pending_is_unclaimed', 'status <> ''pending'' or claimed_at is null'),
            ('processing_is_claimed',
                'status <> ''processing'' or (claimed_at is not null and retries < attempt)'),
            ('terminal_is_settled',
                '(status in (''completed'', ''failed'')) = (settled_at is not null)'),
            ('completed_has_time', '(status = ''completed'') = (completed_at is not null)'),
            ('failed_has_error', 'status <> ''failed'' or error is not null'),
            ('retry_is_pending', 'retry_at is null or status = ''pending'''),
            ('retries_within_attempts', 'retries between 0 and attempt'),
            ('attempt_can_grow', 'attempt < 2000000000'),
            ('times_are_finite',
                'isfinite(created_at) and isfinite(retry_at) and isfinite(claimed_at)'
                ' and isfinite(settled_at) and isfinite(completed_at)'),
            ('dedupe_key_is_short', 'char_length(dedupe_key) between 1 and 200'),
            ('locale_is_short', 'char_length(locale) between 1 and 35')
        ) as rules (name, rule)
    loop
        -- Not named after the table: that may be renamed, or too long to add to.
        execute format('alter table %s drop constraint if exists %I', p_table,
            'tma_' || v_rule.name);
        execute format('alter table %s add constraint %I check (%s)', p_table,
            'tma_' || v_rule.name, v_rule.rule);
    end loop;
end $$;
comment on function bridge.add_request_rules(regclass) is
    'The table refuses what no request can be, whoever writes it.';
revoke execute on function bridge.add_request_rules(regclass) from public, anon, authenticated;

-- Found by what it is, not by its name: a table that was renamed keeps its indexes, and their names
-- are then not free for the one that comes in its place.
create or replace function bridge.add_index(p_table regclass, p_name text, p_definition text)
returns void
language plpgsql set search_path = '' as $$
begin
    if exists (
        select from pg_index i
        where i.indrelid = p_table and i.indisvalid
            and (i.indisunique or p_definition not like 'unique %')
            and split_part(pg_get_indexdef(i.indexrelid), ' USING ', 2)
                = regexp_replace(p_definition, '^unique ', '')
    ) then
        return;
    end if;
    execute format('create %s index %s on %s using %s',
        case when p_definition like 'unique %' then 'unique' end,
        case when to_regclass(format('public.%I', p_name)) is null then quote_ident(p_name) end,
        p_table, regexp_replace(p_definition, '^unique ', ''));
end $$;
comment on function bridge.add_index(regclass, text, text) is
    'Adds an index, given as Postgres writes it after USING, unless the table has one like it. It gets that name if it is free.';
revoke execute on function bridge.add_index(regclass, text, text) from public, anon, authenticated;

create or replace function bridge.add_request_indexes(p_table regclass, p_name text) returns void
language plpgsql set search_path = '' as $$
begin
    perform bridge.add_index(p_table, p_name || '_due',
        'btree (COALESCE(retry_at, created_at), id) WHERE (settled_at IS NULL)');
    perform bridge.add_index(p_table, p_name || '_waiting',
        'btree (telegram_id) WHERE (settled_at IS NULL)');
    perform bridge.add_index(p_table, p_name || '_dedupe_key',
        'unique btree (telegram_id, dedupe_key)');
end $$;
comment on function bridge.add_request_indexes(regclass, text) is
    'What claims, limits and dedupe keys look rows up by.';
revoke execute on function bridge.add_request_indexes(regclass, text)
    from public, anon, authenticated;

create or replace function bridge.grant_requests(p_table regclass, p_user_columns text[])
returns void
language plpgsql set search_path = '' as $$
begin
    execute format('alter table %s enable row level security', p_table);
    execute format(
        'revoke all on %s from public, anon, authenticated, service_role, tma_bridge', p_table
    );
    execute format('grant select, insert, update, delete on %s to service_role', p_table);
    execute format('grant select on %s to anon, authenticated', p_table);
    execute format('grant insert (%s) on %s to anon, authenticated', (
        select string_agg(distinct quote_ident(name), ', ')
        from unnest(p_user_columns || array['telegram_id', 'dedupe_key']) name
    ), p_table);
    execute format('grant select (id) on %s to tma_bridge', p_table);

    perform bridge.drop_open_policy(p_table);
    execute format('drop policy if exists "users insert their own requests" on %s', p_table);
    execute format($ddl$
        create policy "users insert their own requests" on %s for insert to anon, authenticated
            with check (bridge.must_be_own(telegram_id, (select public.tma_user_id())))
    $ddl$, p_table);
    execute format('drop policy if exists "users read their own requests" on %s', p_table);
    execute format($ddl$
        create policy "users read their own requests" on %s for select to anon, authenticated
            using (telegram_id = (select public.tma_user_id()))
    $ddl$, p_table);
    execute format('drop policy if exists "the bridge hears of every row" on %s', p_table);
    execute format($ddl$
        create policy "the bridge hears of every row" on %s for select to tma_bridge using (true)
    $ddl$, p_table);
end $$;
comment on function bridge.grant_requests(regclass, text[]) is
    'Users insert these columns of their own rows and read those; the bridge reads ids.';
revoke execute on function bridge.grant_requests(regclass, text[])
    from public, anon, authenticated;

-- The table stands in the conditions as what it is, so that they hold when it is renamed.
create or replace function bridge.add_request_triggers(p_table regclass) returns void
language plpgsql set search_path = '' as $$
begin
    execute format($ddl$
        create or replace trigger begin_insert before insert on %s
            for each statement execute function bridge.begin_insert()
    $ddl$, p_table);
    execute format($ddl$
        create or replace trigger check_user_request before insert on %s
            for each row when (row_security_active(%L::regclass))
            execute function bridge.check_user_request()
    $ddl$, p_table, p_table);
    execute format($ddl$
        create or replace trigger remember_lead before insert on %s
            for each row when (new.lead_id is not null and new.lead_visible is null)
            execute function bridge.remember_lead()
    $ddl$, p_table);
    execute format($ddl$
        create or replace trigger check_user_requests after insert on %s
            referencing new table as inserted
            for each statement when (row_security_active(%L::regclass))
            execute function bridge.check_user_requests()
    $ddl$, p_table, p_table);
    execute format($ddl$
        create or replace trigger tma_bell after insert on %s
            referencing new table as inserted
            for each statement execute function bridge.ring_for_requests()
    $ddl$, p_table);
end $$;
comment on function bridge.add_request_triggers(regclass) is
    'Limits, the memory of who may see the lead, and the bell.';
revoke execute on function bridge.add_request_triggers(regclass)
    from public, anon, authenticated;

select bridge.remake_request_tables();
