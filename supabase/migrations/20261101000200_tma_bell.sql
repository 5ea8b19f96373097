-- The two bells: whoever listens learns that there is work. Only that: a ring carries the name of a
-- table and no data.
--
-- Broadcast goes out at once on the private topic tma_bell. Postgres Changes needs a published table,
-- and publishes every change of it; so it gets one of its own, to which each ring adds a row. Both
-- ring on the same occasions, once for a statement however many rows it inserts.

create table if not exists bridge.bells (
    id bigint generated always as identity primary key,
    table_name text not null,
    rung_at timestamptz not null default now()
);
comment on table bridge.bells is
    'The changes bell: Realtime reports each row inserted here. The sweep deletes them after a minute.';
comment on column bridge.bells.table_name is 'The table that has work.';
comment on column bridge.bells.rung_at is 'When the statement that rang began.';
alter table bridge.bells enable row level security;
revoke all on bridge.bells from public, anon, authenticated, service_role, tma_bridge;
grant select on bridge.bells to service_role, tma_bridge;
drop policy if exists "the bridge hears every ring" on bridge.bells;
create policy "the bridge hears every ring" on bridge.bells
    for select to tma_bridge
    using (true);
grant usage on schema bridge to service_role, tma_bridge;
select bridge.publish('bridge.bells');

create or replace function bridge.ring(p_table text) returns void
language plpgsql security definer set search_path = '' as $$
begin
    -- An event must not be lost because a bell is broken: the sweep finds it.
    if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is not null then
        begin
            perform realtime.send(jsonb_build_object('table', p_table), 'rows', 'tma_bell', true);
        exception
            when others then
                raise warning 'the bell tma_bell did not ring: %', sqlerrm;
        end;
    end if;
    begin
        insert into bridge.bells (table_name) values (p_table);
    exception
        when others then
            raise warning 'the changes bell did not ring: %', sqlerrm;
    end;
end $$;
comment on function bridge.ring(text) is
    'Tells the bridges at once that a table has work for them, by Postgres Changes and, where realtime.send exists, by broadcast. Never fails.';
revoke execute on function bridge.ring(text) from public, anon, authenticated;

create or replace function bridge.forget_rings() returns void
language sql set search_path = '' as $$
    -- What is deleted at once is not heard: Realtime looks again whether the row may be seen.
    delete from bridge.bells b
    using (
        select o.id from bridge.bells o
        where o.rung_at < now() - interval '1 minute'
        order by o.id
        limit 10000
        for update skip locked
    ) old
    where b.id = old.id
$$;
comment on function bridge.forget_rings() is 'Deletes rings that are older than a minute.';
revoke execute on function bridge.forget_rings() from public, anon, authenticated;

create or replace function bridge.ring_for_inserted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    -- Scheduled rows are found by the sweep when their time has come.
    if exists (
        select from inserted
        where (status = 'pending' and deliver_after <= now() + interval '1 minute')
            or telegram_id = 0 -- nobody's chat: a probe of the bells
    ) then
        perform bridge.ring(tg_table_name);
    end if;
    return null;
end $$;
comment on function bridge.ring_for_inserted() is
    'Rings once per statement that inserted a row which is due now or soon.';
revoke execute on function bridge.ring_for_inserted() from public, anon, authenticated;

create or replace trigger tma_bell after insert on public.tma_events
    referencing new table as inserted
    for each statement execute function bridge.ring_for_inserted();
