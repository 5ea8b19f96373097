-- What `check` writes as a Mini App would: rows of users that cannot exist. Telegram's ids have up to
-- 52 bits, and these have 53. Such a row is settled before it is stored, so that no claim can take it
-- whenever `check` is killed, and whoever wrote it: behind an open policy that may be anybody.

create or replace function bridge.probe_users() returns bigint[]
language sql immutable parallel safe set search_path = '' as $$
    select array[9007199254740990, 9007199254740991]
$$;
comment on function bridge.probe_users() is
    'Two ids that no Telegram user can have. Rows for them are never sent, and soon deleted.';
revoke execute on function bridge.probe_users() from public, anon, authenticated;

create or replace function bridge.forget_probes() returns void
language sql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
    delete from public.tma_events e
    where e.telegram_id = any (0 || bridge.probe_users()) and e.event_type = 'bridge_probe'
        and e.created_at < now() - interval '1 minute'
$$;
comment on function bridge.forget_probes() is
    'Deletes what checks older than a minute have left.';
revoke execute on function bridge.forget_probes() from public, anon, authenticated;

create or replace function bridge.settle_user_probe() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    perform bridge.take_turn(new.telegram_id); -- so that the count below holds
    perform bridge.forget_probes();
    if (
        select count(*)
        from (
            select from public.tma_events e where e.telegram_id = new.telegram_id limit 20
        ) probes
    ) >= 20 then
        raise exception 'too many checks at the same time'
            using errcode = 'check_violation', hint = 'Try again in a minute.';
    end if;
    new.event_type := 'bridge_probe';
    new.lead_id := null;
    new.lead_visible := null;
    new.payload := '{}';
    new.locale := null;
    new.status := 'delivered';
    new.created_at := now();
    new.deliver_after := now();
    new.delivered_at := 'epoch'; -- so that it is counted nowhere, and purged first
    new.settled_at := 'epoch';
    new.behind := false;
    return new;
end $$;
comment on function bridge.settle_user_probe() is
    'Makes what is inserted for a user of probe_users() a row that nobody sends, and that holds nothing of its writer''s but the dedupe key; refuses more than 20 in a minute.';
revoke execute on function bridge.settle_user_probe() from public, anon, authenticated;

-- The last trigger before the row is stored, by its name. The ids are those of probe_users(), which
-- whoever inserts may not call.
create or replace trigger settle_user_probe before insert on public.tma_events
    for each row when (new.telegram_id in (9007199254740990, 9007199254740991))
    execute function bridge.settle_user_probe();

create or replace function public.delete_tma_user_probe(p_dedupe_key text) returns void
language sql security definer set search_path = '' as $$
    delete from public.tma_events
    where telegram_id = any (bridge.probe_users()) and dedupe_key = p_dedupe_key;
    select bridge.forget_probes();
$$;
comment on function public.delete_tma_user_probe(text) is
    'Deletes what `check` has inserted as a Mini App would, and what checks before have left.';
revoke execute on function public.delete_tma_user_probe(text) from public, anon, authenticated;
grant execute on function public.delete_tma_user_probe(text) to service_role, tma_bridge;
