-- What the role tma_bridge needs beside its functions: to be told of new rows by Realtime, which takes
-- on that role and asks row level security whether it may.

grant select (id) on public.tma_events to tma_bridge;
drop policy if exists "the bridge hears of every row" on public.tma_events;
create policy "the bridge hears of every row" on public.tma_events
    for select to tma_bridge
    using (true);

-- Which rights an operator has on Realtime's own schema differs between hosted and self-hosted
-- Supabase and has changed over time. Without them the bridge still hears of rows by Postgres Changes.
do $$
begin
    if to_regclass('realtime.messages') is null or to_regprocedure('realtime.topic()') is null then
        raise notice 'this Realtime has no broadcasts from the database: the bridge will hear of rows by Postgres Changes alone';
        return;
    end if;
    grant usage on schema realtime to tma_bridge;
    grant select on realtime.messages to tma_bridge;
    drop policy if exists "the bridge hears its bell" on realtime.messages;
    create policy "the bridge hears its bell" on realtime.messages
        for select to tma_bridge
        using (extension = 'broadcast' and (select realtime.topic()) = 'tma_bell');
    -- A grant without the right to grant is no error.
    if not has_schema_privilege('tma_bridge', 'realtime', 'usage')
        or not has_table_privilege('tma_bridge', 'realtime.messages', 'select')
    then
        raise insufficient_privilege using message = 'the grants had no effect';
    end if;
exception
    when insufficient_privilege then
        raise warning 'the role tma_bridge cannot listen to the broadcast bell (%), so Postgres Changes ring alone for it: `realtime-bridge check` says who can mend that, and how', sqlerrm;
end $$;

do $$
begin
    if exists (select from pg_roles where rolname = 'supabase_realtime_admin') then
        grant tma_bridge to supabase_realtime_admin;
    end if;
exception
    when insufficient_privilege then
        raise warning 'Realtime may refuse the role tma_bridge (%): as supabase_admin, run "grant tma_bridge to supabase_realtime_admin"', sqlerrm;
end $$;
