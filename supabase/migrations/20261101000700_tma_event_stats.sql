-- Numbers for `status` and the metrics. Reads the open rows and the last hour's settled ones, each by
-- its index: older history costs nothing.

create or replace function bridge.count_events() returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'pending', count(*) filter (where e.waits),
        'scheduled', count(*) filter (where e.status = 'pending' and not e.waits),
        'processing', count(*) filter (where e.status = 'processing'),
        'started', count(*) filter (where e.send_started_at is not null),
        'oldest_pending_seconds', coalesce(extract(epoch from now() - min(
            greatest(e.created_at, e.deliver_after)
        ) filter (where e.waits)), 0)
    )
    from (
        select e.*, e.status = 'pending' and e.deliver_after <= now()
            -- Not in quiet hours, nor while others like it are gathered.
            and not (e.held_by is not null and e.retry_at > now()) as waits
        from public.tma_events e
        where e.settled_at is null
    ) e
$$;
comment on function bridge.count_events() is
    'Open events: pending (due), scheduled (or held until later), processing, of these started; oldest_pending_seconds since the oldest was due (0: none).';
revoke execute on function bridge.count_events() from public, anon, authenticated;

create or replace function public.tma_event_stats() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_recent jsonb;
begin
    with recent as materialized (
        select e.status, e.failure, count(*) as events,
            1 + floor(extract(epoch from now() - e.settled_at) / 60)::integer as minute
        from public.tma_events e
        where e.settled_at > now() - interval '1 hour'
        group by e.status, e.failure, minute
    )
    select jsonb_build_object(
        'delivered_last_hour', (
            select coalesce(sum(events), 0) from recent where status = 'delivered'
        ),
        'withdrawn_last_hour', (
            select coalesce(sum(events), 0) from recent where status = 'withdrawn'
        ),
        'muted_last_hour', (
            select coalesce(sum(events), 0) from recent where status = 'muted'
        ),
        'failed_last_hour', (
            select coalesce(jsonb_object_agg(failure, events), '{}')
            from (
                select failure, sum(events) as events
                from recent where failure is not null group by failure
            ) failed
        ),
        'delivered_per_minute', (
            select jsonb_agg(coalesce(events, 0) order by minute desc)
            from generate_series(1, 60) minute
            left join (
                select minute, events from recent where status = 'delivered'
            ) delivered using (minute)
        )
    )
    into v_recent;
    return bridge.count_events() || v_recent;
end $$;
comment on function public.tma_event_stats() is
    'Counts of now: pending (due), scheduled, processing, of these started; oldest_pending_seconds since it was due (0: none). Of the last hour: delivered_last_hour, withdrawn_last_hour, muted_last_hour, failed_last_hour by failure, delivered_per_minute (60 counts, the last minute last).';
revoke execute on function public.tma_event_stats() from public, anon, authenticated;
grant execute on function public.tma_event_stats() to service_role, tma_bridge;
