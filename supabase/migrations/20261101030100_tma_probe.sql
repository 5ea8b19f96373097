-- What `check` rings the bells with: to Realtime a row like any other, to everybody else none. It says
-- that it was delivered long ago, to a chat that does not exist, so no claim takes it, no retry
-- wakes it and no number counts it, and a purge removes it should `check` not get to that.

create or replace function public.insert_tma_probe() returns bigint
language sql security definer set search_path = '' as $$
    insert into public.tma_events (telegram_id, event_type, status, delivered_at, settled_at)
    values (0, 'bridge_probe', 'delivered', 'epoch', 'epoch')
    returning id
$$;
comment on function public.insert_tma_probe() is
    'Inserts a row that rings the bells and is never sent; its id. Delete it when they have rung: what is deleted at once is not heard.';
revoke execute on function public.insert_tma_probe() from public, anon, authenticated;
grant execute on function public.insert_tma_probe() to service_role, tma_bridge;

create or replace function public.delete_tma_probe(p_id bigint) returns void
language sql security definer set search_path = '' as $$
    delete from public.tma_events
    where telegram_id = 0 and event_type = 'bridge_probe' and id = p_id;
    select bridge.forget_probes();
    -- Whoever checks may have just mended something: bridges that lack a bell ask for it again.
    select bridge.ring('bells');
$$;
comment on function public.delete_tma_probe(bigint) is
    'Deletes a probe, and those of checks that did not get to it.';
revoke execute on function public.delete_tma_probe(bigint) from public, anon, authenticated;
grant execute on function public.delete_tma_probe(bigint) to service_role, tma_bridge;

-- As they do when the migrations have been applied.
select bridge.ring('bells');
