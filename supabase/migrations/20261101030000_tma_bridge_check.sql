-- What `check` reads: whether this database is as the bridge needs it and as the operator should want
-- it. It looks and says; it changes nothing.

create or replace function public.tma_bridge_check() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_role constant text := coalesce(nullif(current_setting('role', true), 'none'), session_user);
    v_tables jsonb;
    -- What the bridge calls.
    v_functions constant text[] := array[
        'claim_tma_events', 'start_tma_events', 'settle_tma_events', 'release_tma_events',
        'recover_tma_events', 'retry_tma_events', 'purge_tma_events', 'recent_tma_events',
        'count_failed_tma_events', 'claim_tma_requests', 'settle_tma_requests',
        'release_tma_requests', 'recover_tma_requests', 'count_tma_requests', 'sweep_tma',
        'tma_backlog', 'tma_event_stats', 'tma_bridge_check', 'register_tma_bot',
        'insert_tma_probe', 'delete_tma_probe', 'delete_tma_user_probe', 'report_tma_progress'
    ];
    v_missing_functions jsonb;
    v_open_policies jsonb;
    v_open_functions jsonb;
    v_settings bridge.settings;
begin
    select * into v_settings from bridge.settings;

    select jsonb_object_agg(c.relname, jsonb_build_object(
        'row_security', c.relrowsecurity,
        'rings', exists (
            select from pg_trigger t
            where t.tgrelid = c.oid and t.tgname = 'tma_bell' and t.tgenabled in ('O', 'A')
        )
    ))
    into v_tables
    from pg_class c
    where c.oid = to_regclass('public.tma_events')
        or c.oid in (select t.relation from bridge.present_request_tables() t);

    select coalesce(jsonb_agg(name order by name), '[]') into v_missing_functions
    from unnest(v_functions) name
    where not exists (
        select from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname = name
            and has_function_privilege(v_role, p.oid, 'execute')
    );

    select coalesce(jsonb_agg(jsonb_build_object(
        'table', p.tablename, 'policy', p.policyname, 'command', lower(p.cmd)
    ) order by p.tablename, p.policyname), '[]')
    into v_open_policies
    from pg_policies p
    where p.schemaname = 'public'
        and (v_tables ? p.tablename or p.tablename = 'tma_chat_settings')
        and p.permissive = 'PERMISSIVE'
        and p.roles && array['public', 'anon', 'authenticated']::name[]
        and p.policyname not in (
            'users insert their own events', 'users read their own events',
            'users insert their own requests', 'users read their own requests',
            'users insert their own settings', 'users read their own settings',
            'users change their own settings', 'users delete their own settings'
        );

    select coalesce(jsonb_agg(f.signature order by f.signature), '[]')
    into v_open_functions
    from (
        select p.oid::regprocedure::text as signature
        from pg_proc p
        where p.pronamespace in ('public'::regnamespace, 'bridge'::regnamespace)
            and (
                p.proname = any (v_functions)
                or p.proname in ('tma_lead_name', 'tma_lead_context')
                or p.pronamespace = 'bridge'::regnamespace
            )
            and p.oid::regprocedure::text not in (
                'bridge.user_id()', 'bridge.must_be_own(bigint,bigint)',
                'bridge.statement_user_id()', 'bridge.statement_user_locale()'
            )
            and (
                has_function_privilege('anon', p.oid, 'execute')
                or has_function_privilege('authenticated', p.oid, 'execute')
            )
    ) f;

    return jsonb_build_object(
        -- Grows with each migration that the bridge depends on.
        'schema_version', 1,
        'now', now(),
        'role', v_role,
        'tables', v_tables,
        'publication', exists (select from pg_publication where pubname = 'supabase_realtime'),
        'bells_published', exists (
            select from pg_publication_tables p
            where p.pubname = 'supabase_realtime'
                and p.schemaname = 'bridge' and p.tablename = 'bells'
        ),
        -- Published by somebody else: what the bridge writes into them goes through Realtime too.
        'tables_published', (
            select coalesce(jsonb_agg(p.tablename order by p.tablename), '[]')
            from pg_publication_tables p
            where p.pubname = 'supabase_realtime'
                and p.schemaname = 'public' and v_tables ? p.tablename
        ),
        'realtime_send', to_regprocedure('realtime.send(jsonb, text, text, boolean)') is not null,
        'tma_bridge', jsonb_build_object(
            'api', pg_has_role('authenticator', 'tma_bridge', 'member'),
            'broadcasts', coalesce(
                has_schema_privilege('tma_bridge', to_regnamespace('realtime'), 'usage')
                and has_table_privilege(
                    'tma_bridge', to_regclass('realtime.messages'), 'select'),
                false
            ),
            -- Not by the owner of this project on some images of Realtime.
            'broadcasts_grantable', coalesce(
                has_table_privilege(
                    current_user, to_regclass('realtime.messages'), 'select with grant option'),
                false
            )
        ),
        'lead_names', case
            when (
                select p.prosrc not like '%The default of realtime-bridge%'
                from pg_proc p where p.oid = to_regprocedure('public.tma_lead_name(bigint)')
            ) then 'public.tma_lead_name'
            when exists (
                select from pg_attribute a
                where a.attrelid = to_regclass('public.leads') and a.attname = 'prospect_name'
            ) then 'public.leads.prospect_name'
        end,
        -- Where the name may be, when it is not where it is looked for.
        'lead_columns', (
            select jsonb_agg(a.attname order by a.attnum)
            from pg_attribute a
            where a.attrelid = to_regclass('public.leads') and a.attnum > 0
                and not a.attisdropped and a.atttypid in ('text'::regtype, 'varchar'::regtype)
        ),
        -- Whether any user could see a lead by his own rights, or somebody has decided it otherwise.
        'lead_rights', case
            when (
                select p.prosrc not like '%The default of realtime-bridge%'
                from pg_proc p where p.oid = to_regprocedure('public.tma_may_see_lead(bigint, bigint)')
            ) then 'public.tma_may_see_lead'
            when has_table_privilege('anon', to_regclass('public.leads'), 'select')
                or has_table_privilege('authenticated', to_regclass('public.leads'), 'select')
            then 'public.leads'
        end,
        'bots', (select coalesce(jsonb_agg(k.bot_id order by k.bot_id), '[]')
            from bridge.bot_keys k),
        -- Who may be tried without anything being sent; null: nobody, and nothing may be inserted.
        'probe_users', case when exists (
            select from pg_trigger t
            where t.tgrelid = 'public.tma_events'::regclass
                and t.tgname = 'settle_user_probe' and t.tgenabled in ('O', 'A')
        ) then to_jsonb(bridge.probe_users()) end,
        'pace', bridge.pace_now(),
        'allow_unverified', v_settings.allow_unverified,
        'auth_max_age_seconds', extract(epoch from v_settings.auth_max_age),
        'open_policies', v_open_policies,
        'missing_functions', v_missing_functions,
        'open_functions', v_open_functions
    );
end $$;
comment on function public.tma_bridge_check() is
    'The state of this database as the bridge sees it: schema_version, now, the caller''s role; per table whether row security is on, and inserts ring the bell; whether Realtime publishes the changes bell, and which of the tables it publishes besides; the role tma_bridge''s ways in; where lead names come from (null: the payload), and what says who may see them (null: nothing, so no user does); bots registered; the users that a check may be (null: none); the pace; functions of ours that are not there for the caller; policies and functions of ours that are open to anon or authenticated and should not be.';
revoke execute on function public.tma_bridge_check() from public, anon, authenticated;
grant execute on function public.tma_bridge_check() to service_role, tma_bridge;
