-- What `check` reads: whether this database is as the bridge needs it and as the operator should want
-- it. It looks and says; it changes nothing.

create or replace function public.tma_bridge_check() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_tables jsonb;
    v_open_policies jsonb;
    v_open_functions jsonb;
    v_settings bridge.settings;
begin
    select * into v_settings from bridge.settings;

    -- Our tables are those that ring the bell.
    select jsonb_object_agg(c.relname, jsonb_build_object(
        'published', exists (
            select from pg_publication_tables p
            where p.pubname = 'supabase_realtime'
                and p.schemaname = 'public' and p.tablename = c.relname
        ),
        'row_security', c.relrowsecurity,
        'rings', t.tgenabled in ('O', 'A')
    ))
    into v_tables
    from pg_trigger t
    join pg_class c on c.oid = t.tgrelid
    where t.tgname = 'tma_bell';

    select coalesce(jsonb_agg(jsonb_build_object(
        'table', p.tablename, 'policy', p.policyname, 'command', lower(p.cmd)
    ) order by p.tablename, p.policyname), '[]')
    into v_open_policies
    from pg_policies p
    where p.schemaname = 'public' and v_tables ? p.tablename
        and p.permissive = 'PERMISSIVE'
        and p.roles && array['public', 'anon', 'authenticated']::name[]
        and p.policyname not in (
            'users insert their own events', 'users read their own events',
            'users insert their own requests', 'users read their own requests'
        );

    select coalesce(jsonb_agg(f.signature order by f.signature), '[]')
    into v_open_functions
    from (
        select p.oid::regprocedure::text as signature
        from pg_proc p
        where p.pronamespace in ('public'::regnamespace, 'bridge'::regnamespace)
            and (
                p.proname in ('tma_lead_name', 'tma_event_stats', 'tma_bridge_check',
                    'register_tma_bot')
                or p.pronamespace = 'bridge'::regnamespace
                or exists (
                    select from jsonb_object_keys(v_tables) t (name)
                    where p.proname in (
                        'claim_' || t.name, 'start_' || t.name, 'settle_' || t.name,
                        'release_' || t.name, 'recover_' || t.name, 'retry_' || t.name,
                        'purge_' || t.name, 'count_' || t.name
                    )
                )
            )
            and p.oid::regprocedure::text not in (
                'bridge.user_id()', 'bridge.user_locale()', 'bridge.must_be_own(bigint,bigint)'
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
        'role', coalesce(nullif(current_setting('role', true), 'none'), session_user),
        'tables', v_tables,
        'publication', exists (select from pg_publication where pubname = 'supabase_realtime'),
        'realtime_send', to_regprocedure('realtime.send(jsonb, text, text, boolean)') is not null,
        'tma_bridge', jsonb_build_object(
            'api', pg_has_role('authenticator', 'tma_bridge', 'member'),
            'broadcasts', coalesce(
                has_schema_privilege('tma_bridge', to_regnamespace('realtime'), 'usage')
                and has_table_privilege(
                    'tma_bridge', to_regclass('realtime.messages'), 'select'),
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
        'bots', (select coalesce(jsonb_agg(k.bot_id order by k.bot_id), '[]')
            from bridge.bot_keys k),
        'allow_unverified', v_settings.allow_unverified,
        'auth_max_age_seconds', extract(epoch from v_settings.auth_max_age),
        'open_policies', v_open_policies,
        'open_functions', v_open_functions
    );
end $$;
comment on function public.tma_bridge_check() is
    'The state of this database as the bridge sees it: schema_version, now, the caller''s role; per table whether Realtime publishes it, row security is on, and inserts ring the bell; the role tma_bridge''s ways in; where lead names come from (null: the payload); bots registered; policies and functions of ours that are open to anon or authenticated and should not be.';
revoke execute on function public.tma_bridge_check() from public, anon, authenticated;
grant execute on function public.tma_bridge_check() to service_role, tma_bridge;
