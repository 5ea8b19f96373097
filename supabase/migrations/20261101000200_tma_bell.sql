-- The broadcast bell: whoever listens on the private topic tma_bell learns that there is work.
-- Only that: a message carries the name of a table and no data.

create or replace function bridge.ring(p_table text) returns void
language plpgsql security definer set search_path = '' as $$
begin
    if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is not null then
        perform realtime.send(jsonb_build_object('table', p_table), 'rows', 'tma_bell', true);
    end if;
exception
    -- An event must not be lost because the bell is broken: the sweep finds it.
    when others then
        raise warning 'the bell tma_bell did not ring: %', sqlerrm;
end $$;
comment on function bridge.ring(text) is
    'Tells the bridges at once that a table has work for them, where realtime.send exists. Never fails.';
revoke execute on function bridge.ring(text) from public, anon, authenticated;

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
